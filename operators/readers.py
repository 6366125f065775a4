"""What the readers of all layouts share: how a bad reading is told, and which devices' names are good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from swapstream.operators.frame import Bool, Float64, Frame, Int64, RawFrame

MAX_DEVICE_BYTES = 256
MAX_DETAIL = 200
SURELY_GOOD = MAX_DEVICE_BYTES // 4
"""Characters that can't be over the limit in UTF-8."""


class Bad(NamedTuple):
    """What can't be read: a place in the raw frame and, where only one reading of a message is bad, that reading's index in it."""

    place: int
    reading: int | None
    reason: str
    detail: str


class Reader(Protocol):
    """What makes columns of decoded messages of one schema."""

    record: Any

    def frame(self, raw: RawFrame, records: list[Any], places: Int64) -> tuple[Frame, list[Bad]]:
        """The good readings in order, and the bad ones. `places` int64[m]: where in `raw` each record lies."""


def devices_good(devices: Sequence[str]) -> Bool | None:
    """Which names are neither empty nor too long; None: all of them."""
    if not devices or (max(map(len, devices)) <= SURELY_GOOD and all(devices)):
        return None
    good = np.array([0 < len(device.encode()) <= MAX_DEVICE_BYTES for device in devices], np.bool_)
    return None if good.all() else good


def device_detail(device: str) -> str:
    """What is wrong with a name that is not good."""
    return f"{len(device.encode())} bytes; 1 to {MAX_DEVICE_BYTES} are allowed"


def finite(values: Float64) -> Bool | None:
    """Which rows [n, F] hold finite numbers only; None: all of them."""
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass at memory speed. What is not finite makes no finite sum; a sum that merely overflows is looked at below.
        if np.isfinite(values.sum()):
            return None
    good = np.isfinite(values).all(axis=1)
    return None if good.all() else good


def not_finite_detail(names: Sequence[str], row: Iterable[float]) -> str:
    """Which fields of a row are not finite."""
    return ", ".join(f"{name}={value}" for name, value in zip(names, row, strict=True) if not np.isfinite(value))[:MAX_DETAIL]


def all_of(*good: Bool | None) -> Bool | None:
    """What is good in every respect; None: everything."""
    some = [mask for mask in good if mask is not None]
    return np.logical_and.reduce(some) if some else None  # type: ignore[no-any-return]
