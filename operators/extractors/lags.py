"""Lags: the readings a number of readings earlier, beside the current one."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.past import Past
from swapstream.operators.frame import Bool, Float64


class Lags(Extractor, frozen=True):
    """The device's values some readings earlier: `<field>.lag_1` is the reading before.

    Where a device has no reading so long ago its first one stands in, and the reading is warming.

    - steps: how many readings earlier, in the order of the features.

    >>> Lags(fields=("temperature", "flow"), steps=(1, 24)).features()
    ('temperature.lag_1', 'flow.lag_1', 'temperature.lag_24', 'flow.lag_24')
    """

    NAME: ClassVar[str] = "lags"

    steps: tuple[Annotated[int, Meta(ge=1, le=10_000)], ...] = (1,)

    def check(self) -> None:
        if not self.steps or len(set(self.steps)) < len(self.steps):
            raise self.refuse("steps", list(self.steps), "one or more numbers of readings, each at most once")

    def features(self) -> tuple[str, ...]:
        return tuple(f"{field}.{self.label or 'lag'}_{step}" for step in self.steps for field in self.fields)

    def depth(self) -> int:
        return max(self.steps)

    def over(self, past: Past) -> tuple[Float64, Bool]:
        return np.concatenate(list(past.back(self.steps)), axis=1), ~past.has(self.depth())
