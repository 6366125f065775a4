"""Flink's REST interface where each job has a JobManager of its own, in Kubernetes: asked through kubectl, by the job's id.

What goes beyond one job is put together from what the operator says of each FlinkDeployment.
"""

from __future__ import annotations

import json
import time
from typing import Any

from swapstream.jobs.spec import MAX_PARALLELISM
from swapstream.models.errors import ClusterError
from swapstream.scripts.flink_deployment import JOB, NAME, PART_OF, state_of
from swapstream.scripts.kubectl import Kubectl

PORT = "rest"
"""The JobManager's service calls it so."""


class KubernetesRest:
    """All JobManagers of Swapstream's jobs in a namespace. Raises ClusterError."""

    def __init__(self, url: str, timeout: float) -> None:
        self.kubectl, self.timeout = Kubectl(url), timeout

    def ask(self, path: str, method: str, body: dict[str, Any] | None) -> Any:
        """As a JobManager would answer."""
        if path == "/overview":
            return overview(self._deployments())
        if path == "/jobs/overview":
            return {"jobs": [job(found) for found in self._deployments()]}
        return self._of(self._owner(path), path, method, body)

    def _owner(self, path: str) -> dict[str, Any]:
        """The FlinkDeployment that a path is about; any for what all have in common."""
        _, what, *rest = path.split("/")
        job_id = rest[0] if what == "jobs" else None
        for found in self._deployments():
            if job_id in (None, found["metadata"]["labels"][JOB]):
                return found
        raise ClusterError(f"there is no FlinkDeployment of {f'job {job_id}' if job_id else 'Swapstream'} in namespace "
                           f"{self.kubectl.namespace}")  # fmt: skip

    def _of(self, deployment: dict[str, Any], path: str, method: str, body: dict[str, Any] | None) -> Any:
        service = f"{deployment['metadata']['name']}-rest:{PORT}"
        return self.kubectl.ask(service, path, method, None if body is None else json.dumps(body), self.timeout + 10)

    def _deployments(self) -> list[dict[str, Any]]:
        return self.kubectl.items("flinkdeployment", PART_OF)


def overview(deployments: list[dict[str, Any]]) -> dict[str, Any]:
    """Pods are made as jobs need them: as many slots are free as a job may take."""
    running = sum(state_of(found) == "RUNNING" for found in deployments)
    return {"taskmanagers": running, "slots-total": MAX_PARALLELISM, "slots-available": MAX_PARALLELISM, "jobs-running": running}


def job(found: dict[str, Any]) -> dict[str, Any]:
    """What `jobs` tells of one."""
    status = (found.get("status") or {}).get("jobStatus") or {}
    began = int(status.get("startTime") or 0)
    return {"jid": found["metadata"]["labels"][JOB], "name": found["metadata"]["labels"][NAME], "state": state_of(found),
            "start-time": began, "duration": max(0, int(time.time() * 1000) - began) if began else 0}  # fmt: skip
