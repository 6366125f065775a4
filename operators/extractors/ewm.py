"""Exponentially weighted mean and deviation per device."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import LIMIT, Extractor, State
from swapstream.operators.extractors.rounds import Rounds
from swapstream.operators.frame import Bool, Float64, Int64


class ExponentiallyWeighted(Extractor, frozen=True):
    """Mean and deviation of a device's readings, the weight of a reading halving every `halflife` readings.

    All statistics are those BEFORE the current reading, so that an unusual one stands out against its past instead of
    moving it: `<field>.ewm_mean`, `<field>.ewm_deviation` and, when asked for, `<field>.ewm_residual` (value − mean).
    At a device's first reading the mean is its value and the deviation 0.

    - halflife: in readings; larger follows the device more slowly.
    - warmup: readings of a device that are marked warming; by default two halflives, rounded up, after which the
      first reading still has a quarter of the weight.
    - statistics: which of mean, deviation, residual, in that order of features.

    With α = 1 − 2^(−1/halflife), d = value − mean: mean ← mean + α·d, variance ← (1 − α)·(variance + d·α·d). Source:
    T. Finch, "Incremental calculation of weighted mean and variance", 2009, section 9. Values beyond ±1e150 count as
    ±1e150.

    >>> ExponentiallyWeighted(fields=("temperature",), halflife=20).features()
    ('temperature.ewm_mean', 'temperature.ewm_deviation')
    """

    NAME: ClassVar[str] = "ewm"

    halflife: Annotated[float, Meta(gt=0)] = 20.0
    warmup: Annotated[int, Meta(ge=1)] | None = None
    statistics: tuple[Literal["mean", "deviation", "residual"], ...] = ("mean", "deviation")

    def check(self) -> None:
        if not math.isfinite(self.halflife):
            raise self.refuse("halflife", self.halflife, "a finite number of readings above 0")
        if not self.statistics or len(set(self.statistics)) < len(self.statistics):
            raise self.refuse("statistics", list(self.statistics), "mean, deviation, residual, each at most once")

    def features(self) -> tuple[str, ...]:
        return tuple(
            f"{field}.{self.label or 'ewm'}_{statistic}" for statistic in self.statistics for field in self.fields
        )

    def state(self) -> dict[str, int]:
        return {"mean": len(self.fields), "variance": len(self.fields), "count": 1}

    def run(self, values: Float64, times: Int64, rounds: Rounds, state: State) -> tuple[Float64, Bool]:
        """As in the base class. Only what needs the reading before runs round by round, the rest once for the frame."""
        values = np.clip(values, -LIMIT, LIMIT)
        mean, variance, count = state["mean"], state["variance"], state["count"]
        np.copyto(mean, values[: len(mean)], where=count == 0)
        alpha = 1.0 - 2.0 ** (-1.0 / self.halflife)
        means, energy = self._means(values, rounds, mean, alpha)
        variances = _variances(energy, rounds, variance, 1.0 - alpha)
        warming = count[rounds.device, 0] + rounds.rank < (self.warmup or math.ceil(2 * self.halflife))
        count[:, 0] += rounds.counts
        features = [self._statistic(name, values, means, variances) for name in self.statistics]
        return np.concatenate(features, axis=1), warming

    @staticmethod
    def _means(values: Float64, rounds: Rounds, mean: Float64, alpha: float) -> tuple[Float64, Float64]:
        """Means before each reading, and d·α·d; leaves the last mean in `mean`."""
        means, residuals, steps = np.empty_like(values), np.empty_like(values), np.empty_like(values)
        for first, last in rounds:
            now, step, residual = mean[: last - first], steps[first:last], residuals[first:last]
            means[first:last] = now
            np.subtract(values[first:last], now, residual)
            np.multiply(alpha, residual, step)
            np.add(now, step, now)
        return means, residuals * steps

    @staticmethod
    def _statistic(name: str, values: Float64, means: Float64, variances: Float64) -> Float64:
        if name == "mean":
            return means
        return np.sqrt(variances) if name == "deviation" else values - means


def _variances(energy: Float64, rounds: Rounds, variance: Float64, keep: float) -> Float64:
    """Variances before each reading; leaves the last one in `variance`."""
    variances = np.empty_like(energy)
    for first, last in rounds:
        now = variance[: last - first]
        variances[first:last] = now
        np.add(now, energy[first:last], now)
        np.multiply(now, keep, now)
    return variances
