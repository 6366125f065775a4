"""Records to try extractors on, and what comes out: one by one, in one frame, or cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Bool, Float64, Frame
from swapstream.operators.retention import Retention

START = 1_700_000_000_000_000
ODD = (0.0, -0.0, 5e-324, 1e-300, 1e150, -1e150)
STEPS = (0, 0, 1, 1, 1, 3, 9, -2)
"""Between the times of two records: event time may stand still, jump, and go back."""


class Record(NamedTuple):
    """A device's reading: values, event time (µs), log time (ms)."""

    device: str
    values: tuple[float, ...]
    time: int
    logged: int


class Ran(NamedTuple):
    """Features [n, K] and warming [n] of records, and the bytes of the state behind them."""

    features: Float64
    warming: Bool
    state: bytes


def frame_of(records: Sequence[Record], width: int, first: int = 0) -> Frame:
    """Records at offsets from `first` on, of `width` fields."""
    offsets = np.arange(first, first + len(records))
    values = np.array([record.values for record in records], np.float64).reshape(-1, width)
    times, logged = (np.array([record[place] for record in records], np.int64) for place in (2, 3))
    return Frame(0, offsets, logged, times, [record.device for record in records], values)


def run(composite: Composite, records: Sequence[Record], cuts: Sequence[int] | None = None, table: DeviceTable | None = None) -> Ran:
    """In frames that end at `cuts`; None: one by one. `table`: the state to begin with, which is changed."""
    cuts = list(range(1, len(records))) if cuts is None else cuts
    table = composite.table() if table is None else table
    found = [composite.extract(frame_of(records[first:last], len(composite.fields), first), table)
             for first, last in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    return Ran(np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found]), table.snapshot())


def series(rows: Iterable[Sequence[float]], device: str = "a") -> list[Record]:
    """One device's readings, a second apart."""
    return [Record(device, tuple(row), START + 1_000_000 * place, 1_000 + place) for place, row in enumerate(rows)]


def examples(seed: int, width: int, most: int = 40) -> list[Record]:
    """Up to `most` records of five devices, the same each time: ordinary values and some that are not."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, most + 1))
    values = draw.choice([1.0, 10.0, 1e6], (count, 1)) * draw.uniform(-1, 1, (count, width))
    values = np.where(draw.random((count, width)) < 0.1, draw.choice(ODD, (count, width)), values)
    times = START + 700_001 * np.cumsum(draw.choice(STEPS, count))
    logged = np.cumsum(draw.choice(STEPS, count))
    devices = [str(device) for device in draw.choice(list("abcde"), count)]
    rows = [tuple(row) for row in values.tolist()]
    return list(map(Record, devices, rows, times.tolist(), logged.tolist()))


def lives(records: Sequence[Record], retention: Retention) -> list[list[int]]:
    """Places of the records of each device from when it is new until it is forgotten: record by record, the plain way."""
    clock, seen, known, found = -(10**9), dict[str, int](), dict[str, list[int]](), []
    for place, record in enumerate(records):
        clock = max(clock, record.logged)
        for other in [other for other, time in seen.items() if clock - time > retention.evict_after]:
            del seen[other]
        if record.device not in seen:
            if len(seen) == retention.max:
                del seen[next(iter(seen))]
            known[record.device] = []
            found.append(known[record.device])
        seen.pop(record.device, None)
        seen[record.device] = clock
        known[record.device].append(place)
    return found
