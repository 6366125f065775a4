"""A job that starts from a savepoint and holds all input until it is released: its start, and what its shards say on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Row, addressed
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.flink_cli import Client, end_clients
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.job_operator import JobOperator

LOOK = 0.5
"""Seconds between looks at the job while its shards are waited for."""
TOO_OFTEN = 3
"""Restarts of a job that has not begun yet: one may be bad luck."""
OURS = "swapstream.models.errors."


class NewJob:
    """One submission: `record` and `told` are written down already. Methods raise ClusterError with the reason why it does not run."""

    def __init__(self, flink: JobOperator, deployments: Deployments, record: Deployment, told: JobSpec) -> None:
        self.flink, self.record, self.told = flink, record, told
        self._spec = deployments.spec(record.name, record.green)
        self._file = deployments.path(record.name, f".{record.job_id}.restore")
        self._client: Client | None = None
        self._looked = 0.0

    @property
    def job_id(self) -> str:
        return self.record.job_id

    def announce(self, seconds: float) -> None:
        """Begin to start it, before its state exists; return when nothing else is waited for."""
        self._start(self._file)
        until, ready = time.monotonic() + seconds, self._file.with_name(f"{self._file.name}.ready")
        while not ready.exists() and time.monotonic() < until:
            assert self._client is not None
            if self._client.check():
                raise ClusterError(f"job {self.job_id} was submitted without its state")
            time.sleep(0.05)

    def begin(self, savepoint: str) -> None:
        """Start it from its state, unless it runs already."""
        if self._client is not None:
            written = self._file.with_name(f"{self._file.name}.{self.job_id[:4]}")
            written.write_text(savepoint)
            written.replace(self._file)
        elif self.flink.state(self.job_id) is None:
            self._start(savepoint)

    def _start(self, restore: str | Path) -> None:
        record = self.record
        bundle = Path(record.bundle) if record.bundle else None
        self._client = self.flink.start(self.flink.arguments(record.job, self._spec, record.parallelism, record.job_id, restore, bundle))

    def end(self) -> None:
        """It will not run any more, whatever was begun."""
        if self._client is not None:
            self._client.kill()
        end_clients(self.job_id)
        self.tidy()
        self.flink.cancel(self.job_id)

    def tidy(self) -> None:
        """Leave no files behind."""
        for path in (self._file, self._file.with_name(f"{self._file.name}.ready")):
            path.unlink(missing_ok=True)

    # -- what its shards say

    def entered(self, ledger: Iterable[Row | None], partitions: Iterable[int], seconds: float) -> None:
        """Return when each shard has taken over its state, and holds. A job that was given none would say the same."""
        what = "have not taken over their state"
        for _ in self._each(ledger, set(partitions), lambda row: row.get("event") in ("restored", "activated"), seconds, what):
            pass
        if not self.flink.rest.checkpoints(self.job_id).get("latest", {}).get("restored"):
            raise ClusterError(f"the new job {self.job_id} has begun without state")

    def activated(self, ledger: Iterable[Row | None], partitions: Iterable[int], cut: Cut, seconds: float) -> None:
        """Return when each shard has begun the plan of a cut."""

        def answers(row: Row) -> bool:
            return row.get("epoch") == cut.epoch and row.get("event") in ("activated", "rejected")

        for row in self._each(ledger, set(partitions), answers, seconds, f"have not begun epoch {cut.epoch}"):
            if row["event"] == "rejected":
                raise ClusterError(f"shard {row['partition']} of the new job rejected epoch {cut.epoch}: {row.get('reason')}")

    def _each(
        self, ledger: Iterable[Row | None], waiting: set[int], wanted: Callable[[Row], bool], seconds: float, what: str
    ) -> Iterator[Row]:
        """The first wanted row of each partition, of this job's generation."""
        until = time.monotonic() + seconds
        for row in ledger:
            if row and self._mine(row) and row.get("partition") in waiting and wanted(row):
                waiting.discard(row["partition"])
                yield row
            if not waiting:
                return
            self.require_life()
            if time.monotonic() > until:
                raise ClusterError(f"shards {sorted(waiting)} of the new job {what} in {seconds:g} s")

    def _mine(self, row: Row) -> bool:
        return addressed(row, self.told.namespace, self.told.deployment) and row.get("generation", 0) == self.told.generation

    def require_life(self) -> None:
        """Look at the job now and then."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        if self._client is not None:
            self._client.check()
        require_alive(self.flink, self.job_id)

    def checkpointed(self, seconds: float) -> None:
        """Return when a checkpoint that began after the call is complete."""
        until, request = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            self.require_life()
            try:
                request = request or self.flink.rest.take_checkpoint(self.job_id)
                answer = self.flink.rest.checkpoint(self.job_id, request)
            except ClusterError:  # it is being started again
                request = ""
                time.sleep(LOOK)
                continue
            if answer["status"]["id"] == "COMPLETED":
                if "failureCause" not in answer["operation"]:
                    return
                request = ""
            time.sleep(0.05)
        raise ClusterError(f"the new job {self.job_id} has completed no checkpoint in {seconds:g} s")


def require_alive(flink: JobOperator, job_id: str) -> None:
    """Raises ClusterError with the reason where a job that is new has ended, or can't run; one that is not known may come yet."""
    if reason := trouble(flink, job_id):
        raise ClusterError(reason)


def trouble(flink: JobOperator, job_id: str) -> str:
    """The same in words, "" where there is none. Raises ClusterError where Flink does not answer."""
    state = flink.state(job_id)
    if state is None:
        return ""
    reason = flink.rest.exception(job_id)
    if state in ENDED:
        return f"the new job {job_id} is {state}: {reason or 'no reason is known'}"
    if OURS in reason or (reason and flink.rest.restarts(job_id) >= TOO_OFTEN):
        return f"the new job {job_id} can't run: {reason.rpartition(OURS)[2]}"
    return ""
