"""Past: the readings of a frame and those before them, for extractors that look back a number of readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from swapstream.operators.extractors.rounds import Rounds
from swapstream.operators.frame import Bool, Float64, Int64

PART_BYTES = 1 << 21
"""Of lags held at once: a frame of any size fits, and what is worked on is still in the cache."""


class Past(msgspec.Struct, frozen=True, gc=False):
    """Readings in the order of `rounds`, and the rings of their devices from before the frame.

    Lag k of a reading is the one k readings earlier of the same device, wherever that lies: in the frame or in the ring.
    Where a device has no reading so long ago its first one stands in.

    - values [n, F']: the frame's readings. places: the F of these columns that are looked at.
    - ring [capacity, depth, F']: the readings before, number i in cell i modulo depth.
    - numbers [n]: how many readings the device had before each one.
    - start, stop: which of the n are looked at; m = stop − start.
    """

    values: Float64
    places: list[int] | slice
    rounds: Rounds
    ring: Float64
    numbers: Int64
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, places: list[int] | slice) -> Past:
        """Other columns."""
        return msgspec.structs.replace(self, places=places)

    def parts(self, size: int) -> Iterator[Past]:
        """The same in parts of at most `size` readings, at least one each."""
        for start in range(self.start, self.stop, max(1, size)):
            yield msgspec.structs.replace(self, start=start, stop=min(start + max(1, size), self.stop))

    @property
    def number(self) -> Int64:
        """[m]: how many readings the device had before."""
        return self.numbers[self.start : self.stop]

    def has(self, lag: int) -> Bool:
        """[m]: whether there is a reading so long ago."""
        return self.number >= lag

    def back(self, lags: Sequence[int]) -> Float64:
        """[lags, m, F]: the readings so many (0 to depth) readings earlier, an array of their own."""
        depth, width = self.ring.shape[1:]
        part = slice(self.start, self.stop)
        cells = self.number % depth - np.array(lags)[:, None]
        cells += depth * (cells < 0)
        cells += self.rounds.slots[self.rounds.device[part]] * depth
        found = np.empty((len(lags), len(self), width))
        np.take(self.ring.reshape(-1, width), cells, axis=0, out=found, mode="clip")
        for place, lag in enumerate(lags):
            self._within(lag, found[place])
        return found if self.places == slice(None) else found[:, :, self.places]

    def _within(self, lag: int, found: Float64) -> None:
        """Put in the readings [m, F'] that lie in the frame itself: those of round `lag` and later."""
        bounds = self.rounds.bounds
        first = max(self.start, int(bounds[lag]) if lag < len(bounds) else self.stop)
        if first >= self.stop:
            return
        places = slice(first, self.stop)
        earlier = bounds[self.rounds.rank[places] - lag] + self.rounds.device[places]
        np.take(self.values, earlier, axis=0, out=found[first - self.start :], mode="clip")

    def begin(self) -> None:
        """Fill the rings of devices that have no reading yet with their first one."""
        new = np.flatnonzero(self.numbers[: len(self.rounds.slots)] == 0)
        self.ring[self.rounds.slots[new]] = self.values[new, None]

    def keep(self) -> None:
        """Put the frame's readings into the rings, for the next frame."""
        depth, width = self.ring.shape[1:]
        cells = self.rounds.slots[self.rounds.device] * depth + self.numbers % depth
        # Where a device has more readings than its ring has cells, numpy keeps the last of a cell, which is the latest.
        self.ring.reshape(-1, width)[cells] = self.values
