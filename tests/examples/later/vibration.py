"""An extractor of one's own, its second version: how much of a machine's swinging has some periods."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import LIMIT, Extractor


class Spectrum(Extractor):
    """The share of each period in a field's swinging around its mean, `<field>.share_<period>`, from 0 to about 1.

    - periods: in readings. halflife: of a reading's weight, in readings.

    Version 1 gave amplitudes, to which a large mean added. This one takes the mean off first, and divides by the deviation: its state
    has two columns more.
    """

    NAME: ClassVar[str] = "spectrum"
    VERSION: ClassVar[int] = 2
    SCHEMA_VERSION: ClassVar[int] = 2

    periods: tuple[Annotated[float, Meta(gt=1)], ...] = (4.0, 16.0)
    halflife: Annotated[float, Meta(gt=0)] = 32.0

    def features(self):
        return tuple(f"{field}.{self.label or 'share'}_{period:g}" for period in self.periods for field in self.fields)

    def state(self):
        width = len(self.periods) * len(self.fields)
        return {"cosine": width, "sine": width, "count": 1, "mean": len(self.fields), "energy": len(self.fields)}

    def step(self, values, times, state):
        values = np.clip(values, -LIMIT, LIMIT)
        keep, width = 2.0 ** (-1.0 / self.halflife), len(self.fields)
        mean = keep * state["mean"] + (1 - keep) * values
        values = values - np.where(state["count"] == 0, values, mean)
        energy = keep * state["energy"] + (1 - keep) * values * values
        cosine, sine, share = np.empty_like(state["cosine"]), np.empty_like(state["sine"]), np.empty_like(state["sine"])
        for place, period in enumerate(self.periods):
            part = slice(place * width, (place + 1) * width)
            x, y = state["cosine"][:, part], state["sine"][:, part]
            across, up = math.cos(2 * math.pi / period), math.sin(2 * math.pi / period)
            cosine[:, part] = keep * (across * x - up * y) + (1 - keep) * values
            sine[:, part] = keep * (up * x + across * y)
            swing = 2 * (cosine[:, part] * cosine[:, part] + sine[:, part] * sine[:, part])
            share[:, part] = swing / np.where(energy > 0, energy, 1.0)
        warming = state["count"][:, 0] < 2 * self.halflife
        return share, warming, {"cosine": cosine, "sine": sine, "count": state["count"] + 1, "mean": mean, "energy": energy}

    def migrate(self, version, columns):
        """State of version 1, [devices, width] each: what it knew of the energy is what swings with its periods. The mean is not
        known, and comes within a few halflives; the count goes on, so no device is warming again."""
        width = len(self.fields)
        energy = np.zeros((len(columns["count"]), width))
        for place in range(len(self.periods)):
            part = slice(place * width, (place + 1) * width)
            energy += 2 * (columns["cosine"][:, part] ** 2 + columns["sine"][:, part] ** 2)
        return {**columns, "mean": np.zeros_like(energy), "energy": energy}
