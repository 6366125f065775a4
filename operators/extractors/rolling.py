"""Rolling statistics: mean, deviation, min and max of a device's last readings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import LIMIT, Extractor
from swapstream.operators.extractors.past import PART_BYTES, Past
from swapstream.operators.frame import Bool, Float64

Statistic = Literal["mean", "deviation", "min", "max"]


class Rolling(Extractor, frozen=True):
    """Statistics over the last n readings of a device, the current one included: `<field>.rolling_mean` and so on.

    A reading is warming until the device has n; until then the statistics are over those it has.

    - n: how many readings; larger is smoother, and costs that much state and time.
    - before: true takes the n readings before the current one instead, so that an unusual one stands out against its
      past. A device's first reading then stands for its own past.
    - statistics: which of mean, deviation, min, max, in that order of features.

    Mean: the readings added up, oldest first, divided by their number; deviation: the root of the mean of the squared
    differences from it, added up in the same order (two passes: nothing drifts). Values beyond ±1e150 count as ±1e150.

    >>> Rolling(fields=("temperature",), n=50, statistics=("mean", "max")).features()
    ('temperature.rolling_mean', 'temperature.rolling_max')
    """

    NAME: ClassVar[str] = "rolling"

    n: Annotated[int, Meta(ge=2, le=10_000)] = 20
    before: bool = False
    statistics: tuple[Statistic, ...] = ("mean", "deviation", "min", "max")

    def check(self) -> None:
        if not self.statistics or len(set(self.statistics)) < len(self.statistics):
            raise self.refuse("statistics", list(self.statistics), "mean, deviation, min, max, each at most once")

    def features(self) -> tuple[str, ...]:
        return tuple(
            f"{field}.{self.label or 'rolling'}_{statistic}" for statistic in self.statistics for field in self.fields
        )

    def depth(self) -> int:
        return self.n if self.before else self.n - 1

    def over(self, past: Past) -> tuple[Float64, Bool]:
        size = PART_BYTES // (8 * self.n * len(self.fields))
        return np.concatenate([self._over(part) for part in past.parts(size)]), ~past.has(self.depth())

    def _over(self, past: Past) -> Float64:
        stack = Stack(past, range(self.depth(), int(self.before) - 1, -1))
        found: dict[str, Float64] = {}
        if {"mean", "deviation"} & set(self.statistics):
            found["mean"] = stack.mean()
        if "deviation" in self.statistics:
            found["deviation"] = stack.deviation(found["mean"])
        for statistic, ufunc in (("min", np.minimum), ("max", np.maximum)):
            if statistic in self.statistics:
                found[statistic] = stack.extreme(ufunc)
        return np.concatenate([found[statistic] for statistic in self.statistics], axis=1)


class Stack:
    """Lags of a frame's readings, oldest first; the last one counts for every reading, the others where they are there."""

    def __init__(self, past: Past, lags: range) -> None:
        back = past.back(lags)
        self.parts = np.clip(back, -LIMIT, LIMIT, out=back)
        self.there: list[Bool | Literal[True]] = [True] * len(lags)
        if past.number.min() < lags[0]:
            self.there = [*(past.has(lag)[:, None] for lag in lags[:-1]), True]
        self.count = np.clip(past.number - lags[-1] + 1, 1, len(lags)).astype(float)[:, None]
        self._scratch = np.empty_like(self.parts[0])

    def mean(self) -> Float64:
        total: Float64 = np.zeros_like(self.parts[0])
        for part, there in zip(self.parts, self.there, strict=True):
            np.add(total, part, out=total, where=there)
        total /= self.count
        return total

    def deviation(self, mean: Float64) -> Float64:
        total, square = np.zeros_like(mean), self._scratch
        for part, there in zip(self.parts, self.there, strict=True):
            np.subtract(part, mean, out=square)
            np.multiply(square, square, out=square)
            np.add(total, square, out=total, where=there)
        total /= self.count
        return np.sqrt(total, out=total)

    def extreme(self, ufunc: np.ufunc) -> Float64:
        found: Float64 = self.parts[-1].copy()
        for part, there in zip(self.parts[:-1], self.there[:-1], strict=True):
            ufunc(found, part, out=found, where=there)
        # −0 becomes 0: which of the two is the smaller one would depend on their place in the array.
        found += 0.0
        return found
