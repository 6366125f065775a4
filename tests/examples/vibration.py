"""An extractor of one's own: how strongly a machine's readings swing with some periods."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import LIMIT, Extractor


class Spectrum(Extractor):
    """The amplitude of each field's swing with each period, `<field>.swing_<period>`, of its exponentially weighted past.

    - periods: in readings. halflife: of a reading's weight, in readings; larger tells periods better apart, and follows more slowly.

    For a period the past readings are added up on a circle that turns once in it: z ← keep · turn · z + (1 − keep) · value. What has
    another period cancels out.
    """

    NAME: ClassVar[str] = "spectrum"
    VERSION: ClassVar[int] = 1

    periods: tuple[Annotated[float, Meta(gt=1)], ...] = (4.0, 16.0)
    halflife: Annotated[float, Meta(gt=0)] = 32.0

    def features(self):
        return tuple(f"{field}.{self.label or 'swing'}_{period:g}" for period in self.periods for field in self.fields)

    def state(self):
        """Per device: z of each period and field, as its two coordinates, and how many readings there were."""
        width = len(self.periods) * len(self.fields)
        return {"cosine": width, "sine": width, "count": 1}

    def step(self, values, times, state):
        """One reading each of m devices: values [m, F]. Every line works on all devices at once, and never across them."""
        values = np.clip(values, -LIMIT, LIMIT)
        keep, width = 2.0 ** (-1.0 / self.halflife), len(self.fields)
        cosine, sine = np.empty_like(state["cosine"]), np.empty_like(state["sine"])
        for place, period in enumerate(self.periods):
            part = slice(place * width, (place + 1) * width)
            x, y = state["cosine"][:, part], state["sine"][:, part]
            across, up = math.cos(2 * math.pi / period), math.sin(2 * math.pi / period)
            cosine[:, part] = keep * (across * x - up * y) + (1 - keep) * values
            sine[:, part] = keep * (up * x + across * y)
        swing = 2 * np.sqrt(cosine * cosine + sine * sine)
        warming = state["count"][:, 0] < 2 * self.halflife
        return swing, warming, {"cosine": cosine, "sine": sine, "count": state["count"] + 1}
