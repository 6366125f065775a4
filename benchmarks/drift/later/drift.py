"""The extractor that `upgrades` alternates with its first version: the same distance, in deviations."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import LIMIT, Extractor


class Drift(Extractor):
    """`<field>.drift`: the distance from the exponentially weighted mean, divided by the deviation. halflife: in readings."""

    NAME: ClassVar[str] = "drift"
    VERSION: ClassVar[int] = 2
    SCHEMA_VERSION: ClassVar[int] = 2

    halflife: Annotated[float, Meta(gt=0)] = 20.0

    def features(self):
        return tuple(f"{field}.drift" for field in self.fields)

    def state(self):
        return {"mean": len(self.fields), "energy": len(self.fields), "count": 1}

    def step(self, values, times, state):
        values, keep = np.clip(values, -LIMIT, LIMIT), 2.0 ** (-1.0 / self.halflife)
        away = np.where(state["count"] > 0, values - state["mean"], 0.0)
        energy = keep * state["energy"] + (1 - keep) * away * away
        drift = away / np.sqrt(np.where(energy > 0, energy, 1.0))
        mean = values - keep * away
        return drift, state["count"][:, 0] < 2 * self.halflife, {"mean": mean, "energy": energy, "count": state["count"] + 1}

    def migrate(self, version, columns):
        """Of version 1, which did not know how far readings lie apart: that comes within a few halflives."""
        return {**columns, "energy": np.zeros_like(columns["mean"])}
