"""Identity: the values themselves, shifted and scaled."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from swapstream.operators.extractors.base import Extractor, State
from swapstream.operators.frame import Bool, Float64, Int64

Number = float | dict[str, float]


class Identity(Extractor, frozen=True):
    """(value − offset) / scale, each a number for all fields or a mapping from field to number.

    Features are named as the fields, or `<field>.<label>`. Never warming. A value near the largest float may give an
    infinite feature, in its own record only.

    >>> Identity(fields=("temperature", "pressure"), scale={"pressure": 1000.0}).features()
    ('temperature', 'pressure')
    """

    NAME: ClassVar[str] = "identity"

    offset: Number = 0.0
    scale: Number = 1.0

    def check(self) -> None:
        for setting, given in (("offset", self.offset), ("scale", self.scale)):
            numbers = given if isinstance(given, dict) else {self.fields[0]: given}
            for field, number in numbers.items():
                if field not in self.fields:
                    raise self.refuse(setting, given, f"a number or a mapping from {', '.join(self.fields)}")
                if not math.isfinite(number) or (setting == "scale" and number == 0):
                    raise self.refuse(
                        setting, given, "a finite number" + (" other than 0" if setting == "scale" else "")
                    )

    def features(self) -> tuple[str, ...]:
        return tuple(f"{field}.{self.label}" if self.label else field for field in self.fields)

    def step(self, values: Float64, times: Int64, state: State) -> tuple[Float64, Bool, State]:
        features = values
        if self.offset != 0.0 or self.scale != 1.0:
            with np.errstate(over="ignore"):
                features = (values - self._row(self.offset, 0.0)) / self._row(self.scale, 1.0)
        return features, np.zeros(len(values), bool), {}

    def _row(self, given: Number, default: float) -> Float64 | float:
        return np.array([given.get(field, default) for field in self.fields]) if isinstance(given, dict) else given
