"""Event times: a schema's ticks to microseconds, and which of them can be true.

Each by itself, so that no time depends on the frame it came in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swapstream.models.messages import UNITS
from swapstream.models.schema import Schema
from swapstream.operators.frame import Bool, Int64

BAD = -1
_INT64_MAX = 2**63 - 1
_LATEST_LOG_MS = 2**62 // 1_000
_LONGEST_MS = 2**50


class Times:
    """Times of one schema. BAD stands for one that is negative or beyond int64 microseconds."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._numerator, self._denominator = UNITS[schema.time_unit]
        self._ahead = min(schema.ahead_ms, _LONGEST_MS)
        self._behind = None if schema.behind_ms is None else min(schema.behind_ms, _LONGEST_MS)

    def of_numbers(self, times: Sequence[int | float]) -> Int64:
        """Whole numbers exactly and rounded down, fractions in float64 and to the nearest microsecond."""
        if set(map(type, times)) <= {int}:
            try:
                return self.of_ticks(np.array(times, np.int64))
            except OverflowError:
                pass
        return np.array([self._one(time) for time in times], np.int64)

    def of_ticks(self, ticks: Int64) -> Int64:
        """int64[n], all at once."""
        most = _INT64_MAX // self._numerator
        if not len(ticks) or (ticks.min() >= 0 and ticks.max() <= most):
            return self._micros(ticks)
        good = (ticks >= 0) & (ticks <= most)
        return np.where(good, self._micros(np.where(good, ticks, 0)), BAD)

    def good(self, micros: Int64, logged: Int64) -> Bool | None:
        """Which times [n] are none of BAD, too far ahead of their log times [n] (ms) or too far behind; None: all of them.

        A log time below 0 says that Kafka has none; then nothing is too far.
        """
        if not len(micros):
            return None
        log = np.maximum(np.minimum(logged, _LATEST_LOG_MS), -1) * 1_000
        lowest, highest = micros.min(), micros.max()
        near = log.min() >= 0 and highest <= log.min() + self._ahead * 1_000
        old = self._behind is not None and lowest < log.max() - self._behind * 1_000
        if lowest >= 0 and near and not old:
            return None
        found = (micros >= 0) & ((micros <= log + self._ahead * 1_000) | (log < 0))
        if self._behind is not None:
            found &= (micros >= log - self._behind * 1_000) | (log < 0)
        return None if found.all() else found

    def why(self, time: object, micros: int, logged: int) -> str:
        """What is wrong with a time that is not good."""
        said = f"{time!r} {self._schema.time_unit}"[:100]
        if micros == BAD:
            return f"{said}: allowed are 0 to {_INT64_MAX} µs since 1970"
        far = micros - logged * 1_000
        limit = f"max_ahead is {self._schema.max_ahead}" if far > 0 else f"max_behind is {self._schema.max_behind}"
        return f"{said} is {abs(far) / 86_400e6:.1f} days {'ahead of' if far > 0 else 'behind'} its log time; {limit}"

    def _micros(self, ticks: Int64) -> Int64:
        if self._denominator == 1:
            return ticks * self._numerator if self._numerator > 1 else ticks
        return ticks * self._numerator // self._denominator

    def _one(self, time: int | float) -> int:
        if isinstance(time, int):
            micros = time * self._numerator // self._denominator
        elif 0 <= time <= _INT64_MAX:  # false for NaN as well
            micros = round(time * self._numerator / self._denominator)
        else:
            return BAD
        return micros if time >= 0 and micros <= _INT64_MAX else BAD
