"""Flink's REST interface on loopback: just the calls that are needed, answers as plain dictionaries."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from swapstream.models.errors import ClusterError
from swapstream.scripts.kubectl import SCHEME
from swapstream.scripts.kubernetes_rest import KubernetesRest

ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})

# An HTTP proxy in the user's environment must not be asked for loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class FlinkRest:
    """A JobManager by its URL, or with kubernetes://NAMESPACE all of those there.

    Every method raises ClusterError when it does not answer within `timeout` seconds.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.url, self.timeout = url, timeout

    def overview(self) -> dict[str, Any]:
        """taskmanagers, slots-total, slots-available, jobs-running, …"""
        return dict(self._ask("/overview"))

    def version(self) -> str:
        """As in 2.3.0."""
        return str(self._ask("/config")["flink-version"])

    def configuration(self) -> dict[str, str]:
        """What the JobManager was configured with."""
        return {entry["key"]: entry["value"] for entry in self._ask("/jobmanager/config")}

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that this JobManager knows: jid, name, state, start-time and duration in ms."""
        return list(self._ask("/jobs/overview")["jobs"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self._ask(f"/jobs/{job_id}"))

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        """counts, latest (completed, failed, savepoint, restored), history."""
        return dict(self._ask(f"/jobs/{job_id}/checkpoints"))

    def exception(self, job_id: str) -> str:
        """The first line of the newest failure's cause, or nothing."""
        entries = self._ask(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        trace = entries[0]["stacktrace"] if entries else ""
        return cause(trace)

    def restarts(self, job_id: str) -> int:
        """How often the job was restarted since it was submitted."""
        found = self._ask(f"/jobs/{job_id}/metrics?get=numRestarts")
        return int(float(found[0]["value"])) if found else 0

    def attempts(self, job_id: str) -> int:
        """How often the job's tasks were started again in this submission; 0 at first."""
        vertices = [vertex["id"] for vertex in self.job(job_id)["vertices"]]
        tasks = [task for vertex in vertices for task in self._ask(f"/jobs/{job_id}/vertices/{vertex}")["subtasks"]]
        return max((int(task["attempt"]) for task in tasks), default=0)

    def cancel(self, job_id: str) -> None:
        """Ask for the job's end; it is over when its state says so."""
        self._ask(f"/jobs/{job_id}?mode=cancel", method="PATCH")

    def stop(self, job_id: str, directory: str | None = None, form: str = "CANONICAL") -> str:
        """Ask for a savepoint below a directory (None: the cluster's) and then the job's end; returns the request's id."""
        asked = {"drain": False, "formatType": form, **({"targetDirectory": directory} if directory else {})}
        return str(self._ask(f"/jobs/{job_id}/stop", "POST", asked)["request-id"])

    def take_savepoint(self, job_id: str, directory: str | None = None, form: str = "CANONICAL") -> str:
        """The same while the job runs on."""
        asked = {"cancel-job": False, "formatType": form, **({"target-directory": directory} if directory else {})}
        return str(self._ask(f"/jobs/{job_id}/savepoints", "POST", asked)["request-id"])

    def savepoint(self, job_id: str, request: str) -> dict[str, Any]:
        """How far a request for a savepoint is: status, and once that is COMPLETED operation (location, or failure-cause)."""
        return dict(self._ask(f"/jobs/{job_id}/savepoints/{request}"))

    def take_checkpoint(self, job_id: str) -> str:
        """Ask for a checkpoint now; returns the request's id."""
        return str(self._ask(f"/jobs/{job_id}/checkpoints", "POST", {"checkpointType": "CONFIGURED"})["request-id"])

    def checkpoint(self, job_id: str, request: str) -> dict[str, Any]:
        """How far a request for a checkpoint is: status, and once that is COMPLETED operation (checkpointId, or failureCause)."""
        return dict(self._ask(f"/jobs/{job_id}/checkpoints/{request}"))

    def _ask(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
        if self.url.startswith(SCHEME):
            return KubernetesRest(self.url, self.timeout).ask(path, method, body)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with _opener.open(request, timeout=self.timeout) as response:
                return json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise ClusterError(f"Flink at {self.url} answers {error.code} to {method} {path}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ClusterError(f"Flink at {self.url} does not answer ({getattr(reason, 'strerror', None) or reason}); "
                               "`swapstream up` starts one, `swapstream status` tells what runs") from error


def cause(trace: str) -> str:
    """The last line of a Java stack trace that says what happened, "" of none. A Python error in it ends with an empty line."""
    said = [line for line in trace.splitlines() if line and not line.startswith("\t")]
    return said[-1].removeprefix("Caused by: ") if said else ""
