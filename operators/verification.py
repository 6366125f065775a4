"""Verification (C6): the telemetry of a partition is run again through the shard, and what it gives compared with what was put out.

Pure: records, parameters and emitted messages go in, counts and the first divergence come out. What depended on more than the
telemetry log, so when something took effect at arrival and what was aborted, is taken from the emitted frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np

from swapstream.operators.comparison import EXACT, Comparison, Divergence, Tolerances
from swapstream.operators.frame import RawFrame
from swapstream.operators.outputs import Role
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.recorded import Recorded
from swapstream.operators.rows import NONE, Origin, Reader, Rows, first_offset, origin, read_message
from swapstream.operators.shard import Assignment, Shard
from swapstream.operators.snapshots import Published

AHEAD = 200_000
"""Offsets that the emitted side is read ahead: more than a frame spans, whose messages of several schemas overlap, and as far as
a job goes back after a failure, so that repeats are compared."""
BLOCK = 100_000
"""Rows that are compared at once."""
COMPARED: tuple[Role, ...] = ("scores", "features", "dead_letters", "anomalies")


class Span(msgspec.Struct, frozen=True):
    """The records of a partition that are compared: offsets `first` to `last`. `open`: what nobody has answered yet behind the
    last answer is not missing."""

    first: int
    last: int
    open: bool = False


class Verified(msgspec.Struct, frozen=True):
    """What was found in a partition. `records` of telemetry were run again; `counts` are those of `Comparison`, and `unanswered`:
    rows behind the last answer, where the span is open."""

    partition: int
    records: int
    counts: dict[str, int]
    first: Divergence | None


class Verification:
    """One partition of one deployment. `take` what was emitted, ahead of `records`; then `finish`.

    - before: the state to start from, None: without any. lives: snapshots of later starts without state, by offset.
    - repeats_allowed: under at-least-once delivery.
    """

    def __init__(
        self,
        partition: int,
        assignment: Assignment,
        definitions: Recorded,
        pipelines: Pipelines,
        span: Span,
        *,
        before: Published | None = None,
        lives: Sequence[Published] = (),
        repeats_allowed: bool = False,
        tolerances: Tolerances = lambda model, digest: EXACT,
    ) -> None:
        self.span = span
        self.partition, self.assignment = partition, assignment
        self._definitions, self._pipelines = definitions, pipelines
        definitions.begin()
        self._whose = Origin(assignment.namespace, assignment.deployment, assignment.topic, partition)
        self._reader = Reader()
        self._comparison = Comparison(partition, self._reader, tolerances, repeats_allowed)
        self._reached = dict.fromkeys(COMPARED, -1)
        self._ended: set[Role] = set()
        self._answered = -1
        self._begins: dict[int, int] = {}
        self._records = 0
        self._lives = sorted(lives, key=lambda one: one.about.offset)
        self._shard = self._new(before)
        self.first_wanted = self._shard.head.last + 1
        """The first offset that `records` must begin with, where there is a state to start from."""

    # -- the emitted side

    def behind(self, offset: int) -> Role | None:
        """Of which topic more must be taken before the records up to `offset` may come; None: of none."""
        waiting = {role: reached for role, reached in self._reached.items() if role not in self._ended}
        role = min(waiting, key=lambda role: waiting[role], default=None)
        return None if role is None or waiting[role] > offset + AHEAD else role

    def take(self, role: Role, value: bytes) -> None:
        """A message of one of the topics, in their order; those of other shards are passed over. Raises InvalidDefinition."""
        message = read_message(role, value)
        whose = origin(message)
        if whose != self._whose and whose != (Origin("", "", *self._whose[2:])):
            return
        self._reached[role] = max(self._reached[role], first_offset(message))
        rows = self._reader.rows(message)
        self._remember(rows)
        self._comparison.emitted(self._within(rows))

    def end(self, role: Role) -> None:
        """There is no more in a topic."""
        self._ended.add(role)

    def _remember(self, rows: Rows) -> None:
        """Where each epoch began."""
        if not len(rows):
            return
        self._answered = max(self._answered, int(rows.table["offset"].max()))
        row = rows.table[0]
        epoch = self._reader.epoch(row)
        if epoch is not None:
            self._begins[epoch] = min(self._begins.get(epoch, int(row["offset"])), int(row["offset"]))
            self._definitions.begun.add(epoch)

    # -- the computed side

    def records(self, raw: RawFrame) -> None:
        """The next records, of which `behind` wants no more."""
        for part in self._split(raw):
            self._renew(int(part.offsets[0]))
            self._arrive(int(part.offsets[0]))
            for emission in self._shard.on_frame(part):
                if emission.role in COMPARED:
                    self._comparison.computed(self._within(self._reader.rows(read_message(emission.role, emission.value))))
        self._records += int(((raw.offsets >= self.span.first) & (raw.offsets <= self.span.last)).sum())
        if self._comparison.pending >= BLOCK:
            self._comparison.close(int(raw.offsets[-1]))

    def finish(self) -> Verified:
        """After the last records, and the end of every topic."""
        end = min(self.span.last, self._answered) if self.span.open else self.span.last
        unanswered = self._comparison.drop(end) if self.span.open else 0
        self._comparison.close(self.span.last)
        counts = dict(self._comparison.counts) | {"unanswered": unanswered}
        return Verified(self.partition, self._records, counts, self._comparison.first)

    def _within(self, rows: Rows) -> Rows:
        if not len(rows):
            return NONE
        offsets = rows.table["offset"]
        inside = (offsets >= self.span.first) & (offsets <= self.span.last)
        return rows if inside.all() else rows.where(inside)

    def _split(self, raw: RawFrame) -> list[RawFrame]:
        """The records in runs, each of which begins where something happened that the records don't tell."""
        at = [self._begins[epoch] for epoch in self._arrivals() if epoch in self._begins]
        at += [life.about.offset + 1 for life in self._lives]
        places = {int(place) for place in np.searchsorted(raw.offsets, at)} - {0, len(raw)}
        edges = [0, *sorted(places), len(raw)]
        return [raw.slice(start, stop) for start, stop in pairwise(edges)]

    def _arrivals(self) -> set[int]:
        """Epochs that began at arrival."""
        return self._definitions.at_arrival(self.assignment.namespace, self.assignment.deployment)

    def _arrive(self, offset: int) -> None:
        self._definitions.arrived |= {epoch for epoch in self._arrivals() if self._begins.get(epoch, offset + 1) <= offset}

    def _renew(self, offset: int) -> None:
        """Where the deployment started without state, so does the shard."""
        while self._lives and self._lives[0].about.offset < offset:
            self._shard = self._new(self._lives.pop(0))

    def _new(self, state: Published | None) -> Shard:
        shard = Shard(self.partition, self.assignment, self._definitions, self._pipelines)
        if state is not None:
            shard.restore(state.state)
        return shard
