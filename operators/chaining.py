"""The input's order for whoever reads `scores` or `features`: frames as they come, to each reading once and in the log's order.

Frames of one shard and schema form a chain: each names the last reading of the one before (`prev`). One is taken when that is the last
reading taken. It is early where others are still to come before it (two jobs write during a handover), and is held. It repeats
what was there before where an at-least-once job did its work again, perhaps cut into other frames, and that is dropped, reading by reading.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.recut import behind
from swapstream.operators.scores import BEFORE_ALL, Position, ScoresFrame, decode_scores
from swapstream.operators.wire import check_version, read

VERSION = 1
MAX_HELD = 64 * 1024 * 1024
"""Bytes of early frames: at 20,000 readings/s of one model some minutes."""


class Owner(NamedTuple):
    """Whose readings a chain is of."""

    namespace: str
    deployment: str
    topic: str
    partition: int
    schema: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.deployment} of {self.topic}-{self.partition}" + (f" ({self.schema})" if self.schema else "")


class Gap(msgspec.Struct, frozen=True):
    """Readings behind `after` that did not come, up to `upto`, before `first`, which is the next that did.

    `upto` is None where the shard began anew, without state: then nobody can tell from its output whether any are missing.
    """

    owner: Owner
    after: Position
    upto: Position | None
    first: Position

    def __str__(self) -> str:
        if self.upto is None:
            return (f"{self.owner} began anew, without state, at offset {self.first.offset}; "
                    f"the last reading before lies at {self.after.offset}")  # fmt: skip
        begin = "from the beginning" if self.after == BEFORE_ALL else f"behind offset {self.after.offset}"
        return f"{self.owner}: readings {begin} up to offset {self.upto.offset} are missing"


Taken = ScoresFrame | Gap


class Early(NamedTuple):
    """A frame that is held, and since when."""

    frame: ScoresFrame
    since: float

    @property
    def before(self) -> Position:
        return self.frame.before


class Chaining:
    """Frames of one topic, of any number of shards and schemas. State, and no clock: `now` is whatever the caller's says, and only
    `give_up` compares it.

    - whole: every chain is read from its beginning, so that a first frame can be early. Without, a chain begins with the first of
      its frames that comes; what lies before that counts as a repeat.
    - max_held: above so many bytes of early frames what the oldest of them waits for is given up, and told as a gap.
    - repeats: readings dropped because they had been there.
    """

    def __init__(self, whole: bool = False, max_held: int = MAX_HELD) -> None:
        self.whole, self.max_held = whole, max_held
        self.held = 0
        self.repeats = 0
        self._last: dict[Owner, Position] = {}
        self._early: dict[Owner, list[Early]] = {}

    def take(self, frame: ScoresFrame, now: float = 0.0) -> list[Taken]:
        """What can be taken now that this frame has come, in order; a gap stands before what follows it."""
        owner = owner_of(frame)
        last = self._last.setdefault(owner, BEFORE_ALL if self.whole else frame.before)
        if frame.before <= last:
            return [*self._accept(owner, frame), *self._go_on(owner)]
        insort(self._early.setdefault(owner, []), Early(frame, now), key=attrgetter("before"))
        self.held += size(frame)
        found: list[Taken] = []
        while self.held > self.max_held and owner in self._early:
            found += self._skip(owner)
        return found

    def give_up(self, since: float = float("inf")) -> list[Taken]:
        """No longer wait for what should come before frames that are held since `since` or longer; by default, of all."""
        found: list[Taken] = []
        for owner in list(self._early):
            while any(early.since <= since for early in self._early.get(owner, ())):
                found += self._skip(owner)
        return found

    def snapshot(self) -> bytes:
        """What `restored` takes, but for `repeats`."""
        chains = [
            SavedChain(owner, last, [early.frame.encode() for early in self._early.get(owner, ())])
            for owner, last in self._last.items()
        ]
        return msgspec.msgpack.encode(SavedChains(self.whole, self.max_held, chains))

    @classmethod
    def restored(cls, saved: bytes, now: float = 0.0) -> Chaining:
        """As it was when `snapshot` was called; what it held counts as held since `now`. Raises InvalidDefinition."""
        found = read(saved, SavedChains, InvalidDefinition, "saved chains")
        check_version(found.v, VERSION, InvalidDefinition, "saved chains")
        made = cls(found.whole, found.max_held)
        for chain in found.chains:
            made._last[chain.owner] = chain.last
            if chain.early:
                made._early[chain.owner] = [Early(decode_scores(frame), now) for frame in chain.early]
        made.held = sum(size(early.frame) for held in made._early.values() for early in held)
        return made

    def _accept(self, owner: Owner, frame: ScoresFrame) -> Iterable[Taken]:
        """The readings of a frame that is not early, less those that were there before."""
        last = self._last[owner]
        if frame.end <= last:
            self.repeats += len(frame)
            return
        first = Position(frame.first, frame.first_index)
        if frame.before == BEFORE_ALL and BEFORE_ALL < last < first:
            yield Gap(owner, last, None, first)
        new = frame if frame.before == last else behind(frame, last)
        self.repeats += len(frame) - len(new)
        self._last[owner] = frame.end
        yield new

    def _go_on(self, owner: Owner) -> Iterable[Taken]:
        """What was early and no longer is."""
        early = self._early.get(owner, [])
        while early and early[0].before <= self._last[owner]:
            frame = early.pop(0).frame
            self.held -= size(frame)
            yield from self._accept(owner, frame)
        if not early:
            self._early.pop(owner, None)

    def _skip(self, owner: Owner) -> list[Taken]:
        """Go on behind what the first of the early frames waits for."""
        frame = self._early[owner][0].frame
        gap = Gap(owner, self._last[owner], frame.before, Position(frame.first, frame.first_index))
        self._last[owner] = frame.before
        return [gap, *self._go_on(owner)]


class SavedChain(msgspec.Struct, frozen=True, array_like=True):
    """A chain as it is stored: its last reading, and the frames that are early, encoded."""

    owner: Owner
    last: Position
    early: list[bytes]


class SavedChains(msgspec.Struct, frozen=True):
    """A `Chaining` as it is stored."""

    whole: bool
    max_held: int
    chains: list[SavedChain]
    v: int = VERSION


def owner_of(frame: ScoresFrame) -> Owner:
    where = frame.provenance
    return Owner(where.namespace, where.deployment, where.topic, where.partition, where.schema)


def size(frame: ScoresFrame) -> int:
    """About how many bytes a frame has, encoded."""
    columns = (frame.offsets, frame.times, frame.device, frame.warming, frame.anomalous, frame.features, frame.index)
    roles = sum(len(role.scores) + len(role.rows) + sum(map(len, role.errors.values())) for role in frame.roles)
    return sum(map(len, columns)) + sum(map(len, frame.devices)) + roles
