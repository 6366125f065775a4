"""Elapsed: the time since the device's last reading."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from swapstream.operators.extractors.base import MICROSECONDS, Extractor, State
from swapstream.operators.extractors.rounds import Rounds
from swapstream.operators.frame import Bool, Float64, Int64


class Elapsed(Extractor, frozen=True):
    """Seconds of event time since the device's reading before: one feature, `elapsed`, or `label`.

    The reading before is the one before in the log: when its time is later, the feature is negative. A device's first
    reading has 0 and is warming. Fields make no difference.

    >>> Elapsed(fields=("temperature", "flow")).features()
    ('elapsed',)
    """

    NAME: ClassVar[str] = "elapsed"

    def features(self) -> tuple[str, ...]:
        return (self.label or "elapsed",)

    def origins(self) -> tuple[tuple[str, ...], ...]:
        return ((),)

    def state(self) -> dict[str, int]:
        return {"time": 1, "seen": 1}

    def run(self, values: Float64, times: Int64, rounds: Rounds, state: State) -> tuple[Float64, Bool]:
        """As in the base class, but all rounds at once."""
        clock = times.astype(float)[:, None]
        first = (state["seen"][rounds.device] == 0) & (rounds.rank == 0)[:, None]
        since = (clock - np.concatenate([state["time"], clock])[rounds.before]) / MICROSECONDS
        state["time"][:], state["seen"][:] = clock[rounds.final], 1.0
        return np.where(first, 0.0, since), first[:, 0]
