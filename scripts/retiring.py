"""Blue's end: each of its shards has retired at its token, and all that they put out before is committed.

Blue may be brought back meanwhile, and goes through its last records again then: only what one execution of it says counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Row, addressed
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.transactions import uncommitted

WAKE_S = 10.0
BREATH_S = 1.0
"""Checkpoints are asked for no sooner: in the moment of the tokens both jobs have enough to do, and readers would notice."""


class Execution(NamedTuple):
    """A Flink job, and how often it was started again."""

    job: str
    attempt: int


class Retirement:
    """What the shards of both jobs have said of a cut. Pure.

    `retired`: partition → the last execution of blue that said so. `rows`: partition → what came first of the retirement and of green's
    beginning, with the seconds since the cut was `committed` (None: that is not known any more). `answered`: the seconds after which
    green's shards answered last, before that.
    """

    def __init__(self, cut: Cut, committed: float = 0.0, answered: Mapping[int, float] | None = None) -> None:
        self.cut, self._committed = cut, committed
        self.retired: dict[int, Execution] = {}
        self.begun: set[int] = set()
        self.rows: dict[int, Row] = {
            partition: {"partition": partition, "answered_s": (answered or {}).get(partition), "cut_offset": offset, "retired_s": None,
                        "activated_s": None, "pause_ms": None}
            for partition, offset in sorted(cut.offsets.items())
        }

    def take(self, row: Row) -> None:
        """A row of the ledger, whosever it is."""
        partition = row.get("partition")
        if partition not in self.rows or not addressed(row, self.cut.namespace, self.cut.deployment):
            return
        event, generation = row.get("event"), row.get("generation") or 0
        if (event, generation) == ("retired", self.cut.predecessor):
            self.retired[partition] = Execution(row.get("job") or "", row.get("attempt") or 0)
            self._since(partition, "retired_s", row)
        elif (event, generation, row.get("epoch")) == ("activated", self.cut.successor, self.cut.epoch):
            self.begun.add(partition)
            self._since(partition, "activated_s", row)
            self.rows[partition]["pause_ms"] = row.get("took_ms")

    def _since(self, partition: int, name: str, row: Row) -> None:
        if self.rows[partition][name] is None and self._committed and row.get("written"):
            self.rows[partition][name] = round(max(0.0, row["written"] - self._committed) / 1000, 3)

    @property
    def complete(self) -> bool:
        """Whether green answers in every shard, and blue has retired in each at some time."""
        return self.begun >= self.rows.keys() and self.retired.keys() >= self.rows.keys()

    @property
    def waiting(self) -> list[int]:
        """The partitions of which that is not so."""
        return sorted(self.rows.keys() - (self.begun & self.retired.keys()))

    def within(self, execution: Execution | None) -> bool:
        """Whether every shard of this execution has retired."""
        return self.rows.keys() <= self.retired.keys() and set(self.retired.values()) == {execution}


class Blue:
    """The job that retires. `job` gives its Flink job as of now; `transactions` is how the ids of its sinks' transactions begin."""

    def __init__(self, environment: Environment, job: Callable[[], str], transactions: str, rest: FlinkRest) -> None:
        self.environment, self.transactions, self._job, self._rest = environment, transactions, job, rest

    def execution(self) -> Execution | None:
        """The one that runs; None while none does, or while that can't be asked."""
        job = self._job()
        with suppress(ClusterError):
            found = self._rest.job(job)
            if found["state"] == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in found["vertices"]):
                return Execution(job, self._rest.attempts(job))
        return None

    def checkpoint(self, execution: Execution, seconds: float) -> bool:
        """Whether a checkpoint that begins now is completed by this very execution, in time."""
        until = time.monotonic() + seconds
        with suppress(ClusterError):
            request = self._rest.take_checkpoint(execution.job)
            while time.monotonic() < until:
                answer = self._rest.checkpoint(execution.job, request)
                if answer["status"]["id"] == "COMPLETED":
                    return "failureCause" not in answer["operation"] and self.execution() == execution
                time.sleep(0.1)
        return False

    def committed(self, execution: Execution, seconds: float) -> bool:
        """Whether all that shards of this execution wrote before they retired is committed, in time.

        What a checkpoint closes is committed before the sinks answer to the next one; the broker is asked as well, since it alone
        knows, but it keeps silent about transactions that the user has no right to see.
        """
        time.sleep(BREATH_S)
        if not (self.checkpoint(execution, seconds) and self.checkpoint(execution, seconds)):
            return False
        until = time.monotonic() + seconds
        while uncommitted(self.environment, self.transactions):
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def retire(retirement: Retirement, blue: Blue, ledger: Iterable[Row | None], timeout: float, wake: Callable[[], None]) -> bool:
    """Whether, within `timeout` seconds, green answers in every shard and it is safe to end blue.

    `wake` writes a record for blue into every partition: shards say again that they have retired when they are brought back, but a
    partition without records would say nothing.
    """
    until, wake_at = time.monotonic() + timeout, time.monotonic() + WAKE_S
    for row in ledger:
        if row is not None:
            retirement.take(row)
        if time.monotonic() > until:
            break
        if row is None or retirement.complete:
            execution = blue.execution()
            if execution and retirement.complete and retirement.within(execution) and blue.committed(execution, timeout):
                return True
            if execution and time.monotonic() > wake_at:
                wake()
                wake_at = time.monotonic() + WAKE_S
    return False
