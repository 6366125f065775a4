"""Rate: how fast each value changes, per second of event time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from swapstream.operators.extractors.base import MICROSECONDS, Extractor, State
from swapstream.operators.extractors.rounds import Rounds
from swapstream.operators.frame import Bool, Float64, Int64


class Rate(Extractor, frozen=True):
    """(value − the device's value one reading earlier) / (seconds between the two): `<field>.rate`.

    The reading before is the one before in the log. When its time is later, both differences are negative and the rate
    is that of the line through both; when it is the same, the rate is 0. A device's first reading has the rate 0 and is
    warming. A jump wider than the largest float gives an infinite feature, in its own record only.

    >>> Rate(fields=("temperature",)).features()
    ('temperature.rate',)
    """

    NAME: ClassVar[str] = "rate"

    def features(self) -> tuple[str, ...]:
        return tuple(f"{field}.{self.label or 'rate'}" for field in self.fields)

    def state(self) -> dict[str, int]:
        return {"last": len(self.fields), "time": 1, "seen": 1}

    def run(self, values: Float64, times: Int64, rounds: Rounds, state: State) -> tuple[Float64, Bool]:
        """As in the base class, but all rounds at once."""
        clock = times.astype(float)[:, None]
        first = (state["seen"][rounds.device] == 0) & (rounds.rank == 0)[:, None]
        before = rounds.before
        seconds = (clock - np.concatenate([state["time"], clock])[before]) / MICROSECONDS
        still = first | (seconds == 0)
        with np.errstate(over="ignore"):
            change = values - np.concatenate([state["last"], values])[before]
            features = np.where(still, 0.0, change / np.where(still, 1.0, seconds))
        final = rounds.final
        state["last"][:], state["time"][:], state["seen"][:] = values[final], clock[final], 1.0
        return features, first[:, 0]
