"""A Flink that only remembers: jobs by id with their states, what was asked of it, and a `flink run` that takes a job at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swapstream.models.errors import ClusterError


class FakeClient:
    """A submission that is over as soon as its state is known. `error`: how it fails."""

    def __init__(self, flink: FakeFlink, job_id: str, restore: str | Path | None) -> None:
        self.flink, self.job_id, self.restore, self.killed = flink, job_id, restore, False
        if isinstance(restore, Path) and not flink.refuses:
            restore.with_name(f"{restore.name}.ready").touch()

    def check(self) -> bool:
        if self.flink.refuses:
            raise ClusterError(f"flink run failed: {self.flink.refuses}")
        there = not isinstance(self.restore, Path) or self.restore.is_file()
        if there and not self.killed and self.job_id not in self.flink.known:
            self.flink.takes(self.job_id, self.restore.read_text() if isinstance(self.restore, Path) else self.restore)
        return there

    def wait(self) -> None:
        self.check()

    def kill(self) -> None:
        self.killed = True


class FakeRest:
    """Its REST interface. `stops`: what comes of a request for a savepoint and the job's end."""

    def __init__(self, flink: FakeFlink) -> None:
        self.flink = flink
        self.stops: dict[str, Any] = {"location": "file:///savepoint-1"}
        self.asked: list[tuple[str, str | None, str]] = []
        self.failures: dict[str, str] = {}
        self.restarted: dict[str, int] = {}
        self.saving: list[bool] = []
        self.restored: dict[str, str] | None = {"external_path": "file:/savepoint-1"}

    def overview(self) -> dict[str, int]:
        return {"slots-available": self.flink.slots, "slots-total": 4}

    def stop(self, job_id: str, directory: str | None = None, form: str = "CANONICAL") -> str:
        self.asked.append((job_id, directory, form))
        if "location" in self.stops:
            self.flink.known[job_id] = "FINISHED"
        return f"request-{len(self.asked)}"

    def savepoint(self, job_id: str, request: str) -> dict[str, Any]:
        return {"status": {"id": "COMPLETED"}, "operation": self.stops}

    def take_savepoint(self, job_id: str, directory: str | None = None, form: str = "CANONICAL") -> str:
        """Below a directory on this machine, with the one file that makes it complete."""
        place = Path((directory or "file:///tmp").removeprefix("file://")) / "savepoint-1"
        place.mkdir(parents=True)
        (place / "_metadata").write_bytes(b"m")
        self.stops = {"location": place.as_uri()}
        return "saving"

    def take_checkpoint(self, job_id: str) -> str:
        return "checkpointing"

    def checkpoint(self, job_id: str, request: str) -> dict[str, Any]:
        return {"status": {"id": "COMPLETED"}, "operation": {"checkpointId": 1}}

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        saving = bool(self.saving) and self.saving.pop(0)
        history = [{"is_savepoint": True, "status": "IN_PROGRESS"}] if saving else []
        return {"counts": {"completed": 1}, "latest": {"restored": self.restored}, "history": history}

    def job(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.flink.known:
            raise ClusterError(f"Flink answers 404 to GET /jobs/{job_id}")
        return {"state": self.flink.known[job_id], "vertices": [{"id": "v", "status": self.flink.known[job_id]}]}

    def attempts(self, job_id: str) -> int:
        return self.restarted.get(job_id, 0)

    def exception(self, job_id: str) -> str:
        return self.failures.get(job_id, "")

    def restarts(self, job_id: str) -> int:
        return self.restarted.get(job_id, 0)


class FakeFlink:
    """What stands where a JobOperator does."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.runs: list[tuple[str, str | None]] = []
        self.slots, self.refuses = 4, ""
        self.rest = FakeRest(self)
        self.clients: list[FakeClient] = []

    def takes(self, job_id: str, restore: str | None) -> None:
        self.runs.append((job_id, restore))
        self.known[job_id] = "RUNNING"

    def arguments(self, job: str, spec: Path, parallelism: int, job_id: str, restore: Any = None, bundle: Path | None = None,
                  leave_sinks: bool = False) -> list[Any]:  # fmt: skip
        return [job_id, restore]

    def start(self, arguments: list[Any]) -> FakeClient:
        self.clients.append(FakeClient(self, *arguments))
        return self.clients[-1]

    def run(self, arguments: list[Any]) -> None:
        self.start(arguments).wait()

    def states(self) -> dict[str, str]:
        return self.known

    def state(self, job_id: str) -> str | None:
        return self.known.get(job_id)

    def is_running(self, job_id: str) -> bool:
        return self.known.get(job_id) == "RUNNING"

    def cancel(self, job_id: str, seconds: float = 60.0) -> None:
        if self.known.get(job_id) == "RUNNING":
            self.known[job_id] = "CANCELED"
