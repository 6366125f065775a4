"""What a shard says on the ledger."""

from __future__ import annotations

from typing import Any

from swapstream.operators.assignment import Assignment
from swapstream.operators.judging import Verdict
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.operators.outputs import Emission
from swapstream.operators.run import Run
from swapstream.operators.scoring import Scoring
from swapstream.operators.starting import Beginning


class Reporter:
    """Writes the rows of one shard; `prev` is the digest of its last one."""

    def __init__(self, partition: int, assignment: Assignment, run: Run, scoring: Scoring) -> None:
        self._partition = partition
        self._assignment = assignment
        self._run = run
        self._scoring = scoring
        generation = f"/{assignment.generation}" if assignment.generation else ""
        self._whose = f"{assignment.namespace}/{assignment.deployment}{generation}"
        self._writer = LedgerWriter(f"{self._whose}/{assignment.topic}/{partition}")

    @property
    def prev(self) -> str:
        return self._writer.prev

    def restore(self, prev: str) -> None:
        self._writer.prev = prev

    def judged(self, event: str, verdict: Verdict, offset: int, time: int, **told: Any) -> Emission:
        """About the token at an offset and log time; `told` are further fields of LedgerRow."""
        token = verdict.token
        assert token is not None
        # The answers of several jobs of a deployment are all wanted, and stand at the same offset.
        apart = f"/{self._run.job}" if event in ("prepared", "refused") and self._run.job else ""
        told = {"who": token.who, "reason": verdict.reason, **told}
        return self._row(event, offset, time, token.epoch, token.plan, apart, told)

    def arrived(self, event: str, beginning: Beginning, offset: int, time: int, **told: Any) -> Emission:
        """About a cut at arrival, met at the record at this offset and log time."""
        told = {"how": "arrival", **told}
        return self._row(event, offset, time, beginning.epoch, beginning.plan, f"/{beginning.epoch}", told)

    def entered(self, event: str, offset: int, time: int) -> Emission:
        """This job goes on by its upgrade behind the record at this offset."""
        upgrade = self._assignment.upgrade
        assert upgrade is not None
        return self._row(event, offset, time, upgrade.epoch, upgrade.plan, "", {})

    def still_retired(self, offset: int, time: int) -> Emission:
        """Behind the record at this offset, and from some token before it on."""
        return self._row("retired", offset, time, self._scoring.epoch, self._scoring.digest, "", {"reason": "brought back"})

    def _row(self, event: str, offset: int, time: int, epoch: int, plan: str, apart: str, told: dict[str, Any]) -> Emission:
        """The id is the same when the row is written again; `apart` tells rows of one event and offset from each other."""
        a = self._assignment
        row = LedgerRow(
            f"{self._whose}/{event}/{a.topic}/{self._partition}/{offset}{apart}",
            a.namespace,
            a.deployment,
            event,
            self._writer.writer,
            time,
            topic=a.topic,
            partition=self._partition,
            offset=offset,
            epoch=epoch,
            plan=plan,
            plan_name=self._name(plan),
            job=self._run.job,
            attempt=self._run.attempt,
            generation=a.generation,
            **told,
        )
        return Emission("ledger", None, self._writer.write(row))

    def _name(self, plan: str) -> str | None:
        """Of the plan in force, if that is the one with this digest."""
        pipeline = self._scoring.pipeline
        return pipeline.plan.name if pipeline and pipeline.digest == plan else None
