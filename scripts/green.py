"""The green job of a handover: it starts from the state of the one that runs, and until it takes over nobody hears of it.

Its record lies beside the deployment's, and the keeper brings it back as any other job.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.flink_cli import end_clients, new_job_id
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.new_job import trouble


class Green:
    """The one of a deployment, if it has one."""

    def __init__(self, flink: JobOperator, deployments: Deployments, name: str) -> None:
        self.flink, self.deployments, self.name = flink, deployments, name

    @property
    def record(self) -> Deployment | None:
        return self.deployments.find(self.name, green=True)

    @property
    def told(self) -> JobSpec:
        """Raises InvalidSettings."""
        return JobSpec.read(self.deployments.spec(self.name, green=True))

    def job_id(self) -> str:
        """As of now; "" of none."""
        record = self.record
        return record.job_id if record else ""

    def write(self, blue: Deployment, told: JobSpec) -> None:
        """Who it will be; it does not run yet, and nobody is to bring it back."""
        record = msgspec.structs.replace(
            blue, green=True, desired="stopped", job_ids=(), earlier=(), origin=None, parallelism=told.parallelism,
            generation=told.generation, line=told.line,
        )  # fmt: skip
        with self.deployments.lock(self.name):
            told.write(self.deployments.spec(self.name, green=True))
            self.deployments.save(record)

    def start(self, savepoint: str, seconds: float) -> None:
        """Run it from a savepoint, and return when its tasks run. Raises ClusterError with the reason why not."""
        with self.deployments.lock(self.name):
            record = self.deployments.require(self.name, green=True).submitted(new_job_id(), savepoint)
            path = self.deployments.spec(self.name, green=True)
            self.deployments.save(record)
            bundle = Path(record.bundle) if record.bundle else None
            self.flink.run(self.flink.arguments(record.job, path, record.parallelism, record.job_id, savepoint, bundle, leave_sinks=True))
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Return when every task runs. Raises ClusterError when it can't, or does not in time."""
        until, reason, runs = time.monotonic() + seconds, "", False
        while not runs:
            job = self.job_id()
            with suppress(ClusterError):  # Flink is slow to answer while it starts a job
                reason = trouble(self.flink, job)
                runs = not reason and self.flink.state(job) is not None and self.flink.is_running(job)
            if reason or time.monotonic() > until:
                raise ClusterError(reason or f"the new job {job} does not run after {seconds:.0f} s: its tasks are still being started")
            time.sleep(0.1)

    def end(self) -> None:
        """It will not run any more, whatever was begun, and is forgotten. Raises ClusterError."""
        with self.deployments.lock(self.name):
            record = self.record
            if record:
                self.deployments.save(record.stopped())  # first, or the keeper brings it back
        for job in (*record.earlier, *record.job_ids) if record else ():
            end_clients(job)
            self.flink.cancel(job)
        self.deployments.drop_green(self.name)

    @property
    def runs(self) -> bool:
        """Whether Flink has it, or the keeper is going to see to that."""
        record = self.record
        return record is not None and record.desired == "running" and self.flink.state(record.job_id) not in ENDED
