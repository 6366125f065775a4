"""Sends rows when their event time has come, or at a multiple of that speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from swapstream.operators.frame import Int64

MOST = 2_000
TICK = 0.01


class Pacer:
    """Wall-clock time follows event time, `speed` times as fast, from the first row on; 0 is as fast as possible.

    `sleep` and `clock` (seconds) are replaced in tests.
    """

    def __init__(self, speed: float, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] = time.sleep) -> None:
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._started: float | None = None
        self._first = 0

    def due(self, times: Int64) -> Iterator[tuple[int, int]]:
        """Yields (start, stop) of consecutive rows as they come due; a row that is earlier than one before waits for that.

        Called again with later rows it goes on from the same start.
        """
        if self._started is None and len(times):
            self._started, self._first = self._clock(), int(times[0])
        if not self._speed:
            yield from ((start, min(start + MOST, len(times))) for start in range(0, len(times), MOST))
            return
        seconds = np.maximum.accumulate((times - self._first) / 1e6 / self._speed)
        start = 0
        while start < len(times):
            passed = self._clock() - (self._started or 0.0)
            stop = min(int(np.searchsorted(seconds, passed, side="right")), start + MOST)
            if stop > start:
                yield start, stop
                start = stop
            else:
                self._sleep(min(max(float(seconds[start]) - passed, TICK), 1.0))
