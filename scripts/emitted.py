"""What a deployment has put out of one partition and schema, in the log's order and each reading once, however its jobs wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from swapstream.operators.chaining import Chaining, Gap, Owner, owner_of
from swapstream.operators.scores import ScoresFrame
from swapstream.operators.verification import Span
from swapstream.scripts import kafka
from swapstream.scripts.bounds import offsets_at
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment
from swapstream.scripts.lag import first_timestamps
from swapstream.scripts.outputs import frames
from swapstream.scripts.reading import Reading
from swapstream.scripts.submitted import submission

MARGIN_MS = 60_000
"""So much earlier than a record what was put out of it may be dated: clocks differ."""


class Emitted:
    """The frames of one chain whose readings lie in a span. What is missing in between is said on stderr."""

    def __init__(self, environment: Environment, role: Literal["scores", "features"], owner: Owner, span: Span) -> None:
        self._environment, self._owner, self._span = environment, owner, span
        self._topic = environment.topics.by_role()[role].name

    def frames(self) -> Iterator[ScoresFrame]:
        """Raises ClusterError."""
        for start in self._starts():
            found = self._from(start)
            first = next(found, None)
            if first is None or (first.prev >= self._span.first and start != "earliest"):
                continue  # a clock was far ahead: what comes before lies further back
            yield first
            yield from found
            return

    def _starts(self) -> Iterator[kafka.Start]:
        """Where to begin reading: near the span, and else at the beginning of what there is."""
        if self._span.first > 0:
            written = first_timestamps(self._environment, {self._owner.partition: self._span.first}).get(self._owner.partition)
            if written is not None:
                yield offsets_at(self._environment, self._topic, max(0, written - MARGIN_MS))
        yield "earliest"

    def _from(self, start: kafka.Start) -> Iterator[ScoresFrame]:
        chaining = Chaining()
        with Reading(self._environment, self._topic, start, self._partitions()) as reading:
            for frame in frames(iter(reading.next, None), self._topic):
                if frame is None or owner_of(frame) != self._owner:
                    continue
                for taken in chaining.take(frame):
                    if isinstance(taken, Gap):
                        say(str(taken))
                    elif taken.first > self._span.last:
                        return
                    elif taken.last >= self._span.first:
                        yield taken
        for taken in chaining.give_up():
            if isinstance(taken, Gap):
                say(str(taken))
            elif taken.first <= self._span.last and taken.last >= self._span.first:
                yield taken

    def _partitions(self) -> set[int] | None:
        """Where a shard's messages all lie in the partition of its number, that one; None: all."""
        spec = submission(self._environment, self._owner.namespace, self._owner.deployment)
        count = kafka.partition_count(self._environment, self._topic)
        return {self._owner.partition} if spec and self._owner.partition < spec.partitions == count else None
