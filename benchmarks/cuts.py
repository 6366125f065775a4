"""Which version scored each record, and which one should have: what is measured of a change, however it is made. Pure.

A version is a number that grows with each change: Swapstream's epoch, a rival's own count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Int64


class Part(msgspec.Struct, frozen=True):
    """A message of output: records `offsets` [n] of a partition, all of one version. `appended`: the broker's time in ms."""

    partition: int
    version: int
    offsets: Int64
    appended: int


class Scored(msgspec.Struct, frozen=True):
    """All records of a partition in the order of their offsets: `offsets`, `versions`, `appended` [n]."""

    offsets: Int64
    versions: Int64
    appended: Int64

    def pause(self, since: float = 0.0, until: float = np.inf) -> float:
        """The longest time in ms between two appends that begins in a span of time."""
        times = np.unique(self.appended)
        began = (times[:-1] >= since) & (times[:-1] <= until)
        return float(np.diff(times)[began].max(initial=0))

    def first(self, version: int) -> float:
        """When the first record of a version, or of a later one, was appended; infinite if none was."""
        return float(self.appended[self.versions >= version].min(initial=np.iinfo(np.int64).max))


class Change(msgspec.Struct, frozen=True):
    """To a version, announced at a time in ms: of partition p it has to score what comes after offset `offsets[p]`."""

    version: int
    announced: float
    offsets: dict[int, int]


class Count(msgspec.Struct, frozen=True):
    """Records in all; those scored by another version than the changes' offsets imply; those that are still wrong wherever else the cuts
    might be; and those that are missing, or there twice."""

    records: int
    other: int
    mixed: int
    lost: int
    twice: int


def by_partition(parts: Iterable[Part]) -> dict[int, Scored]:
    found: dict[int, list[Part]] = {}
    for part in parts:
        found.setdefault(part.partition, []).append(part)
    return {partition: joined(each) for partition, each in found.items()}


def joined(parts: Sequence[Part]) -> Scored:
    """A partition's messages as columns."""
    sizes = [len(part.offsets) for part in parts]
    offsets = np.concatenate([part.offsets for part in parts])
    order = np.argsort(offsets, kind="stable")
    versions, appended = ([getattr(part, name) for part in parts] for name in ("version", "appended"))
    return Scored(offsets[order], np.repeat(versions, sizes)[order], np.repeat(appended, sizes)[order])


def implied(offsets: Int64, partition: int, changes: Sequence[Change], first: int) -> Int64:
    """Which version each record should have, `first` being that before all changes: the last one announced before its offset."""
    places = np.array([change.offsets[partition] for change in changes], np.int64)
    versions = np.array([first, *(change.version for change in changes)], np.int64)
    return versions[np.searchsorted(places, offsets, side="left")]


def count(scored: Mapping[int, Scored], telemetry: Mapping[int, Int64], changes: Sequence[Change], first: int) -> Count:
    """Of all partitions; `telemetry` has the offsets of each one's readings."""
    records = other = mixed = lost = twice = 0
    for partition, offsets in telemetry.items():
        found = scored.get(partition, joined([Part(partition, first, np.zeros(0, np.int64), 0)]))
        there = np.unique(found.offsets)
        records += len(offsets)
        lost += len(np.setdiff1d(offsets, there, assume_unique=True))
        twice += len(found.offsets) - len(there)
        other += int((found.versions != implied(found.offsets, partition, changes, first)).sum())
        mixed += sum(unexplained(found.versions >= change.version) for change in changes)
    return Count(records, other, mixed, lost, twice)


def unexplained(new: Bool) -> int:
    """Of records in the log's order, `new` or not: the fewest that are on the wrong side of a cut, wherever that may be."""
    before = np.concatenate([[0], np.cumsum(new)])
    after = np.concatenate([np.cumsum(~new[::-1])[::-1], [0]])
    return int((before + after).min())


def seen_after(scored: Mapping[int, Scored], changes: Sequence[Change]) -> list[float]:
    """Of each change: ms from its announcement until every partition had output of it."""
    return [max(found.first(change.version) for found in scored.values()) - change.announced for change in changes]


def longest_pause(scored: Mapping[int, Scored], since: float = 0.0, until: float = np.inf) -> float:
    """In ms, of any partition."""
    return max((found.pause(since, until) for found in scored.values()), default=0.0)


def within(times: Float64, spans: Sequence[tuple[float, float]]) -> Bool:
    """Which of the times lie in one of the spans (from, to)."""
    inside = np.zeros(len(times), dtype=bool)
    for begin, end in spans:
        inside |= (times >= begin) & (times <= end)
    return inside


def union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same time in spans that don't overlap, in order."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def outside(begin: float, end: float, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of begin to end without `spans`, which don't overlap and are in order."""
    edges = [begin, *(edge for span in spans for edge in span), end]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
