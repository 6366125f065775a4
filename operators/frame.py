"""Frames: consecutive records of one shard, as columns. Everything after decoding works on these with numpy."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """Records as they lie in Kafka, in offset order.

    `offsets` and `timestamps` (Kafka's, in ms: log time) are int64[n]; `payloads` and `keys` have n entries, None where Kafka has null.
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
    """Decoded records in offset order: `times` is event time in microseconds, `timestamps` log time in ms, `values` float64[n, F]."""

    partition: int
    offsets: Int64
    timestamps: Int64
    times: Int64
    devices: list[str]
    values: Float64

    def __len__(self) -> int:
        return len(self.devices)
