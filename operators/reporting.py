"""What a shard says on the ledger."""

from __future__ import annotations

from typing import Any

from swapstream.operators.assignment import Assignment
from swapstream.operators.frame import RawFrame
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.operators.outputs import Emission


class Reporter:
    """Writes the rows of one shard; `prev` is the digest of its last one."""

    def __init__(self, partition: int, assignment: Assignment) -> None:
        self._partition = partition
        self._assignment = assignment
        self._writer = LedgerWriter(
            f"{assignment.namespace}/{assignment.deployment}/{assignment.topic}/{partition}"
        )

    @property
    def prev(self) -> str:
        return self._writer.prev

    def restore(self, prev: str) -> None:
        self._writer.prev = prev

    def row(self, event: str, raw: RawFrame, index: int, **told: Any) -> Emission:
        """A row about a record of a frame, in log time; `told` are further fields of LedgerRow."""
        offset, a = int(raw.offsets[index]), self._assignment
        row = LedgerRow(
            f"{a.namespace}/{a.deployment}/{event}/{a.topic}/{self._partition}/{offset}",
            a.namespace,
            a.deployment,
            event,
            self._writer.writer,
            int(raw.timestamps[index]),
            topic=a.topic,
            partition=self._partition,
            offset=offset,
            **told,
        )
        return Emission("ledger", None, self._writer.write(row))
