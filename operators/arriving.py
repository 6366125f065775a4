"""What takes effect at arrival: ahead of a backlog, at the first record of the next frame after the shard has seen it.

Where that is follows from no log: output, ledger and state tell at which record it was (C6).
"""

from __future__ import annotations

import msgspec

from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.judging import Judge
from swapstream.operators.starting import Beginning, at_arrival


class Arrived(msgspec.Struct, frozen=True):
    """What begins at the next record; with `reason` it does not, and that is why."""

    beginning: Beginning
    reason: str = ""


class Arrivals:
    """What one shard has yet to follow: of several the newest that can be run."""

    def __init__(self, assignment: Assignment, definitions: Definitions, judge: Judge) -> None:
        self._assignment = assignment
        self._definitions = definitions
        self._judge = judge
        self._looked = -1
        self._coming: list[Beginning] = []
        self._refused: set[int] = set()

    def look(self) -> None:
        """`definitions` may tell more than it did, though it was read no further."""
        self._looked = -1

    def due(self, epoch: int) -> Arrived | None:
        """For a shard in `epoch`, to be asked once more when what it gave can't be run. Each frame asks: it costs a comparison."""
        if self._definitions.position != self._looked:
            self._looked = self._definitions.position
            found = at_arrival(self._assignment, self._definitions)
            self._coming = sorted((one for one in found if one.epoch not in self._refused), key=lambda one: one.epoch)
        for one in reversed(self._coming):
            if one.epoch <= epoch:
                break
            reason = self._judge.unusable(one.plan, None, one.update)
            if reason is None:  # an older one must not wait for its models
                continue
            self._coming.remove(one)
            if reason:
                self._refused.add(one.epoch)
            return Arrived(one, reason)
        return None
