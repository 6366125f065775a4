"""Two sides of one partition's output, row by row: what was computed again against what was put out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.rows import CONTENT, NONE, About, Reader, Rows, Slot, Table, joined

What = Literal["missing", "unexpected", "twice", "differs"]


class Divergence(msgspec.Struct, frozen=True):
    """A row that is not as it should be. `row` names it, `fields` what differs; a side is None where there is no such row.

    missing: not put out. unexpected: put out, and nothing gives it. twice: put out more than once. differs: with other content.
    """

    partition: int
    offset: int
    index: int
    row: str
    what: What
    fields: tuple[str, ...]
    computed: dict[str, Any] | None
    emitted: dict[str, Any] | None

    def __str__(self) -> str:
        place = f"partition {self.partition}, offset {self.offset}" + (f" [{self.index}]" if self.index > 0 else "")
        return f"{place}: {self.row}: {self.what}" + (f" in {', '.join(self.fields)}" if self.fields else "")


class Tolerance(NamedTuple):
    """Scores agree when they differ by no more than `relative` of the computed one or, where that is smaller, of `scale`."""

    relative: float = 0.0
    scale: float = 0.0

    def agree(self, computed: Float64, emitted: Float64) -> Bool:
        near: Bool = np.abs(computed - emitted) <= self.relative * np.maximum(np.abs(computed), self.scale)
        return near


EXACT = Tolerance()
Tolerances = Callable[[str, str], Tolerance]
"""The tolerance of a model, by its reference and digest; of "" and "": what holds for everything, features as well."""
Readings = set[tuple[int, int]]
FLOAT = np.dtype("<f8")


class Comparison:
    """Rows of both sides go in as they come; `close` compares those up to an offset and lets them go.

    Rows of one side may come in any order. `counts`: rows compared by topic, `equal`, `within tolerance`, `repeats`, and
    divergences by what they are. A row that comes after its offset was closed is a repeat, whose content is not compared.
    """

    def __init__(self, partition: int, reader: Reader, tolerances: Tolerances, repeats_allowed: bool) -> None:
        self.partition = partition
        self.reader = reader
        self.counts: Counter[str] = Counter()
        self.first: Divergence | None = None
        self._tolerances = tolerances
        self._repeats_allowed = repeats_allowed
        self._closed = -1
        self._sides: tuple[list[Rows], list[Rows]] = ([], [])

    @property
    def pending(self) -> int:
        """Computed rows that are not compared yet."""
        return sum(map(len, self._sides[0]))

    def computed(self, rows: Rows) -> None:
        if len(rows):
            self._sides[0].append(rows)

    def emitted(self, rows: Rows) -> None:
        late = rows.table["offset"] <= self._closed
        if late.any():
            self._repeated(rows.where(late))
            rows = rows.where(~late)
        if len(rows):
            self._sides[1].append(rows)

    def close(self, end: int) -> None:
        """Compare the rows up to offset `end`: no more of them is awaited on either side."""
        computed, emitted = (take(side, end) for side in self._sides)
        self._closed = max(self._closed, end)
        if not len(computed) and not len(emitted):
            return
        pairs = Pairs(computed.table, emitted.table)
        for topic, count in _by_topic(self.reader, computed.table).items():
            self.counts[topic] += count
        self._repeated(emitted.where(pairs.again), computed, pairs)
        excused = self._compare(computed.where(pairs.left), emitted.where(pairs.right))
        self._alone("missing", computed.where(pairs.missing), excused)
        self._alone("unexpected", emitted.where(pairs.unexpected), excused)

    def drop(self, after: int) -> int:
        """Let go the rows behind an offset, of which nobody has answered all yet; returns how many were computed."""
        kept = [take(side, after) for side in self._sides]
        dropped = self.pending
        for side, rows in zip(self._sides, kept, strict=True):
            side[:] = [rows] if len(rows) else []
        return dropped

    # -- what differs

    def _compare(self, left: Rows, right: Rows, counted: str = "equal") -> Readings:
        """Rows that stand on both sides; returns the readings whose verdict may differ, as their score does within tolerance."""
        different = left.blobs != right.blobs
        for name in CONTENT:
            different |= left.table[name] != right.table[name]
        self.counts[counted] += len(left) - int(different.sum())
        left, right = left.where(different), right.where(different)
        within = self._scores_within(left.table, right.table)
        excused = readings(left.table[within])
        for place in np.flatnonzero(~within).tolist():
            within[place] = self._blob_within(left, right, place, excused)
        self.counts["within tolerance"] += int(within.sum())
        self._diverge("differs", left.where(~within), right.where(~within))
        return excused

    def _scores_within(self, left: Table, right: Table) -> Bool:
        """Which scores say the same, of models whose bits may differ."""
        agrees: Bool = np.ones(len(left), bool)
        for name in CONTENT:
            if name not in ("score", "error", "anomalous"):
                agrees &= left[name] == right[name]
        for number in np.unique(left["about"]).tolist():
            about: About = self.reader.abouts[number]
            mine = left["about"] == number
            tolerance = self._tolerances(about.model, about.digest) if about.model else EXACT
            if not tolerance.relative:
                agrees[mine] = False
                continue
            score, other = left["score"][mine].view(FLOAT), right["score"][mine].view(FLOAT)
            failed = (left["error"][mine] != 0) & (right["error"][mine] != 0)
            with np.errstate(invalid="ignore"):
                near = tolerance.agree(score, other)
                same_verdict = left["anomalous"][mine] == right["anomalous"][mine]
                at_threshold = tolerance.agree(score, np.full(len(score), about.threshold))
            agrees[mine] &= failed | (near & (same_verdict | at_threshold))
        return agrees

    def _blob_within(self, left: Rows, right: Rows, place: int, excused: Readings) -> bool:
        """Whether features agree within the tolerance that holds for all, or anomalies of a score that does."""
        slot, row = self._slot(left.table[place]), left.table[place]
        if slot.topic == "anomalies":
            return bool(readings(left.table[place : place + 1]) & excused)
        everywhere = self._tolerances("", "")
        if slot.topic != "features" or not everywhere.relative:
            return False
        if any(row[name] != right.table[place][name] for name in CONTENT):
            return False
        one, other = (np.frombuffer(rows.blobs[place], FLOAT) for rows in (left, right))
        return len(one) == len(other) and bool(everywhere.agree(one, other).all())

    def _alone(self, what: What, rows: Rows, excused: Readings) -> None:
        """Rows of one side only. An anomaly may be, where the score lies at the threshold within tolerance."""
        if excused and len(rows):
            fine = np.array([
                bool(readings(rows.table[place : place + 1]) & excused) and self._slot(rows.table[place]).topic == "anomalies"
                for place in range(len(rows))
            ])
            self.counts["within tolerance"] += int(fine.sum())
            rows = rows.where(~fine)
        self._diverge(what, *((rows, NONE) if what == "missing" else (NONE, rows)))

    def _repeated(self, rows: Rows, computed: Rows = NONE, pairs: Pairs | None = None) -> None:
        """Rows that were there before. Under at-least-once that is allowed, if the content is the same."""
        self.counts["repeats"] += len(rows)
        if not self._repeats_allowed:
            self._diverge("twice", NONE, rows)
        elif pairs is not None and len(rows):
            fits = pairs.again_left >= 0
            self._compare(computed.where(pairs.again_left[fits]), rows.where(fits), "equal repeats")

    # -- telling

    def _diverge(self, what: What, computed: Rows, emitted: Rows) -> None:
        """Count rows that diverge, of one side or of both, and keep the first of all."""
        rows = computed if len(computed) else emitted
        if not len(rows):
            return
        self.counts[what] += len(rows)
        place = int(np.lexsort((rows.table["index"], rows.table["offset"]))[0])
        row = rows.table[place]
        offset, index = int(row["offset"]), int(row["index"])
        if self.first is not None and (self.first.offset, self.first.index) <= (offset, index):
            return
        sides = [
            self.reader.describe(side.table[place], side.blobs[place]) if len(side) else None for side in (computed, emitted)
        ]
        fields = differing(*sides)
        self.first = Divergence(self.partition, offset, index, str(self._slot(row)), what, fields, *sides)

    def _slot(self, row: Any) -> Slot:
        slot: Slot = self.reader.slots[int(row["slot"])]
        return slot


class Pairs:
    """Which rows of two sides belong together: places in either, in the log's order.

    - left, right: pairs, of a row that is there more than once the first. missing, unexpected: places of rows without another.
    - again: places of the second and further rows of one key; again_left: their computed row, −1 where there is none.
    """

    def __init__(self, computed: Table, emitted: Table) -> None:
        both = np.concatenate([computed, emitted])
        order = np.lexsort((both["slot"], both["index"], both["offset"]))
        keys = both[order]
        new = np.ones(len(order), bool)
        new[1:] = (keys["offset"][1:] != keys["offset"][:-1]) | (keys["index"][1:] != keys["index"][:-1])
        new[1:] |= keys["slot"][1:] != keys["slot"][:-1]
        group = np.cumsum(new) - 1
        # The sort is stable: of each key the computed row comes first, then the emitted ones as they came.
        ours = order < len(computed)
        lefts = np.full(int(group[-1]) + 1, -1)
        lefts[group[ours]] = order[ours]
        places, theirs = order[~ours] - len(computed), group[~ours]
        first: Bool = np.ones(len(places), bool)
        first[1:] = theirs[1:] != theirs[:-1]
        partner = lefts[theirs]
        self.left: Int64 = partner[first & (partner >= 0)]
        self.right: Int64 = places[first & (partner >= 0)]
        self.unexpected: Int64 = places[first & (partner < 0)]
        self.again: Int64 = places[~first]
        self.again_left: Int64 = partner[~first]
        lonely = lefts[(lefts >= 0) & ~np.isin(np.arange(len(lefts)), theirs)]
        self.missing: Int64 = lonely


def take(side: list[Rows], end: int) -> Rows:
    """The rows up to offset `end`; the others stay."""
    taken: list[Rows] = []
    left: list[Rows] = []
    for rows in side:
        now = rows.table["offset"] <= end
        for chosen, parts in ((now, taken), (~now, left)):
            if chosen.any():
                parts.append(rows if chosen.all() else rows.where(chosen))
    side[:] = left
    return joined(taken)


def readings(table: Table) -> Readings:
    return set(zip(table["offset"].tolist(), table["index"].tolist(), strict=True))


def differing(one: dict[str, Any] | None, other: dict[str, Any] | None) -> tuple[str, ...]:
    """The fields in which two rows differ: NaN is itself, 0 is not -0."""
    if one is None or other is None:
        return ()
    return tuple(name for name in one if repr(one[name]) != repr(other.get(name)))


def _by_topic(reader: Reader, table: Table) -> dict[str, int]:
    slots, counts = np.unique(table["slot"], return_counts=True)
    found: Counter[str] = Counter()
    for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
        found[reader.slots[slot].topic] += count
    return found
