"""What a run against known faults amounts to: which were found, which alarms were right, and where the swap cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from swapstream.operators.cut import Cut
from swapstream.scripts.tally import Stretch


class Span(msgspec.Struct, frozen=True):
    """A known fault: of a device, of a kind, between two event times in microseconds, both included."""

    device: str
    first: int
    last: int
    kind: str


class Quality(msgspec.Struct, frozen=True):
    """`kinds`: for each kind of fault (found, injected). A fault is found when an anomaly lies within it."""

    kinds: dict[str, tuple[int, int]]
    precision: float | None

    @property
    def recall(self) -> float | None:
        """Share of all faults that were found."""
        found, injected = (sum(column) for column in zip(*self.kinds.values(), strict=True)) if self.kinds else (0, 0)
        return found / injected if injected else None


def quality(anomalies: Iterable[dict[str, Any]], spans: Sequence[Span]) -> Quality:
    """Anomalies against faults. Precision: the share of anomalies that lie within some fault of their device."""
    by_device: dict[str, list[int]] = {}
    for place, span in enumerate(spans):
        by_device.setdefault(span.device, []).append(place)
    hit: set[int] = set()
    right = every = 0
    for anomaly in anomalies:
        inside = [p for p in by_device.get(anomaly["device"], ()) if spans[p].first <= anomaly["time"] <= spans[p].last]
        hit.update(inside)
        right += bool(inside)
        every += 1
    kinds = {kind: _found(kind, spans, hit) for kind in sorted({span.kind for span in spans})}
    return Quality(kinds, right / every if every else None)


def cut_rows(cut: Cut, stretches: Iterable[Stretch]) -> list[dict[str, Any]]:
    """For each partition the token's offset, the last record of the epoch before it and the first of its own.

    `exact`: nothing before the token is the new plan's, nothing after it the old one's. None where a side has no record.
    """
    found = list(stretches)
    return [_cut_row(partition, offset, cut.epoch, found) for partition, offset in sorted(cut.offsets.items())]


def _cut_row(partition: int, token: int, epoch: int, stretches: list[Stretch]) -> dict[str, Any]:
    mine = [stretch for stretch in stretches if stretch.partition == partition]
    before = [stretch for stretch in mine if stretch.epoch < epoch]
    after = [stretch for stretch in mine if stretch.epoch >= epoch]
    last = max(before, key=lambda stretch: stretch.last, default=None)
    first = min(after, key=lambda stretch: stretch.first, default=None)
    return {
        "partition": partition,
        "token": token,
        "before": last and last.model,
        "last_before": last and last.last,
        "after": first and first.model,
        "first_after": first and first.first,
        "exact": (last is None or last.last < token) and (first is None or first.first > token),
    }


def _found(kind: str, spans: Sequence[Span], hit: set[int]) -> tuple[int, int]:
    places = [place for place, span in enumerate(spans) if span.kind == kind]
    return sum(place in hit for place in places), len(places)
