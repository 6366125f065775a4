"""What a shard says on the ledger."""

from __future__ import annotations

from typing import Any

from swapstream.operators.assignment import Assignment
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.operators.outputs import Emission
from swapstream.operators.run import Run
from swapstream.operators.token import Token


class Reporter:
    """Writes the rows of one shard; `prev` is the digest of its last one."""

    def __init__(self, partition: int, assignment: Assignment, run: Run) -> None:
        self._partition = partition
        self._assignment = assignment
        self._run = run
        self._writer = LedgerWriter(f"{assignment.namespace}/{assignment.deployment}/{assignment.topic}/{partition}")

    @property
    def prev(self) -> str:
        return self._writer.prev

    def restore(self, prev: str) -> None:
        self._writer.prev = prev

    def row(self, event: str, offset: int, time: int, *, apart: str = "", **told: Any) -> Emission:
        """A row about the record at an offset and log time; `told` are further fields of LedgerRow. Its id is the same when it is
        written again; `apart` tells rows of one event and offset from each other."""
        a = self._assignment
        row = LedgerRow(
            f"{a.namespace}/{a.deployment}/{event}/{a.topic}/{self._partition}/{offset}{apart}",
            a.namespace,
            a.deployment,
            event,
            self._writer.writer,
            time,
            topic=a.topic,
            partition=self._partition,
            offset=offset,
            job=self._run.job,
            attempt=self._run.attempt,
            **told,
        )
        return Emission("ledger", None, self._writer.write(row))

    def of_token(self, event: str, offset: int, time: int, token: Token, plan_name: str | None, **told: Any) -> Emission:
        """A row about a token of this deployment."""
        # The answers of several jobs of a deployment are all wanted, and stand at the same offset.
        apart = f"/{self._run.job}" if event in ("prepared", "refused") and self._run.job else ""
        told |= {"epoch": token.epoch, "plan": token.plan, "plan_name": plan_name, "who": token.who}
        return self.row(event, offset, time, apart=apart, **told)
