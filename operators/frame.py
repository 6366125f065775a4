"""Frames: consecutive records of one shard, as columns. Everything after decoding works on these with numpy."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

ALONE: Int64 = np.zeros(0, np.int64)
"""The `index` of readings each of which is alone in its message: stands for zeros."""


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """Records as they lie in Kafka, in offset order.

    `offsets` and `timestamps` (Kafka's, in ms: log time, -1 where it has none) are int64[n]; `payloads` and `keys` have n entries,
    None where Kafka has null.
    """

    partition: int
    payloads: list[bytes | None]
    offsets: Int64
    timestamps: Int64
    keys: list[bytes | None]

    def __len__(self) -> int:
        return len(self.payloads)

    def slice(self, start: int, stop: int) -> RawFrame:
        """Records start to stop (exclusive)."""
        return RawFrame(
            self.partition,
            self.payloads[start:stop],
            self.offsets[start:stop],
            self.timestamps[start:stop],
            self.keys[start:stop],
        )


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Decoded readings in log order: `times` is event time in microseconds, `timestamps` log time in ms, `values` float64[n, F].

    A reading is known by topic, partition, offset and `index` int64[n], its place in its message: 0 where a message holds
    one. `coded`: what `by_device` gives, where it is known already.
    """

    partition: int
    offsets: Int64
    timestamps: Int64
    times: Int64
    devices: list[str]
    values: Float64
    index: Int64 = ALONE
    coded: tuple[list[str], Int64] | None = None

    def __post_init__(self) -> None:
        if self.index is ALONE:
            msgspec.structs.force_setattr(self, "index", np.zeros(len(self.devices), np.int64))

    def __len__(self) -> int:
        return len(self.devices)

    def take(self, where: slice | Int64) -> Frame:
        """Some of the readings."""
        devices = self.devices[where] if isinstance(where, slice) else [self.devices[i] for i in where.tolist()]
        return Frame(
            self.partition,
            self.offsets[where],
            self.timestamps[where],
            self.times[where],
            devices,
            self.values[where],
            self.index[where],
        )

    def by_device(self) -> tuple[list[str], Int64]:
        """Every device once, in the order of first appearance, and int64[n]: each reading's place among them."""
        if self.coded is None:
            places = {device: place for place, device in enumerate(dict.fromkeys(self.devices))}
            codes = np.fromiter(map(places.__getitem__, self.devices), np.int64, len(self.devices))
            msgspec.structs.force_setattr(self, "coded", (list(places), codes))
        assert self.coded is not None
        return self.coded
