"""Windows: a device's last readings as they are, for models of sequences."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.past import PART_BYTES, Past
from swapstream.operators.frame import Bool, Float64


class Window(Extractor, frozen=True):
    """The last n readings of a device, the current one included: n·F features, oldest reading first, of shape (n, F).

    `<field>[-k]` is the value k readings earlier. A model over the window alone may take it as [rows, n, F]. Until a
    device has n readings its first one stands in for those before it, and the reading is warming.

    - n: how many readings.

    >>> Window(fields=("temperature", "flow"), n=2).features()
    ('temperature[-1]', 'flow[-1]', 'temperature[-0]', 'flow[-0]')
    >>> Window(fields=("temperature", "flow"), n=50).shape()
    (50, 2)
    """

    NAME: ClassVar[str] = "window"

    n: Annotated[int, Meta(ge=2, le=10_000)] = 10

    def features(self) -> tuple[str, ...]:
        prefix = f".{self.label}" if self.label else ""
        return tuple(f"{field}{prefix}[-{lag}]" for lag in range(self.n - 1, -1, -1) for field in self.fields)

    def shape(self) -> tuple[int, ...]:
        return self.n, len(self.fields)

    def depth(self) -> int:
        return self.n - 1

    def over(self, past: Past) -> tuple[Float64, Bool]:
        rows = np.empty((len(past), self.n, len(self.fields)))
        for part in past.parts(PART_BYTES // (8 * self.n * len(self.fields))):
            rows[part.start : part.stop] = part.back(range(self.n - 1, -1, -1)).swapaxes(0, 1)
        return rows.reshape(len(past), -1), ~past.has(self.depth())
