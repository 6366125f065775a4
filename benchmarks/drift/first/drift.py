"""The extractor that `upgrades` alternates with its later version: how far a reading is from where the device was."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import LIMIT, Extractor


class Drift(Extractor):
    """`<field>.drift`: the distance from the exponentially weighted mean of the readings before. halflife: in readings."""

    NAME: ClassVar[str] = "drift"
    VERSION: ClassVar[int] = 1

    halflife: Annotated[float, Meta(gt=0)] = 20.0

    def features(self):
        return tuple(f"{field}.drift" for field in self.fields)

    def state(self):
        return {"mean": len(self.fields), "count": 1}

    def step(self, values, times, state):
        values, keep = np.clip(values, -LIMIT, LIMIT), 2.0 ** (-1.0 / self.halflife)
        away = np.where(state["count"] > 0, values - state["mean"], 0.0)
        mean = values - keep * away
        return away, state["count"][:, 0] < 2 * self.halflife, {"mean": mean, "count": state["count"] + 1}
