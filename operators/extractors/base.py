"""What an extractor is: settings, the names of its features, its state per device, and one step of arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from swapstream.models.errors import InvalidPlan
from swapstream.operators.code import bare
from swapstream.operators.extractors.past import Past
from swapstream.operators.extractors.rounds import Rounds, single_round
from swapstream.operators.frame import Bool, Float64, Int64

State = dict[str, Float64]

MICROSECONDS = 1_000_000.0
"""In a second: event times are in µs, features in seconds."""

LIMIT = 1e150
"""Squares of values within this, weighted or added up, stay finite: one absurd reading can't leave inf or nan in a
device's statistics for ever."""


def own_name(kind: type) -> str:
    """What an extractor is called that has no NAME: as in vibration.Spectrum."""
    return f"{bare(kind.__module__)}.{kind.__qualname__}"


class Extractor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one extractor, and its code.

    Every feature and every state must be the same bits however records are cut into frames (contract C6), so
    arithmetic runs elementwise over devices: numpy's ufuncs, never a sum, product, sort or `@` across rows. There are
    two ways to write one:
    - a recursive one implements `state` and one of `step` and `run`, each of which is made of the other: `run` where a
      whole frame can be done faster than reading by reading;
    - a function of the last readings implements `depth` and `over`; the readings are kept for it, once for all such
      extractors of a plan.

    - NAME is what specs, state and scores call it; a user's may leave it out, and is then called as in vibration.Spectrum.
    - VERSION changes whenever features change for the same input; models trained on the older one no longer fit.
    - SCHEMA_VERSION changes whenever `state` means something else; `migrate` then reads the older one. What `state` names is kept and
      written as numbers, never as objects: whoever restores it needs the layout, not the code that made it.
    - A new setting needs a default that leaves features as they were: settings at their default are left out of
      specs, digests and snapshots.

    `fields` are the schema's fields to work on, in that order. A plan may leave them out for all; `Composite` fills
    them in, so the methods below always see F names. `label` is the word in the names of the features, to be changed
    when one extractor stands twice in a plan.
    """

    NAME: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    SCHEMA_VERSION: ClassVar[int] = 1

    fields: tuple[str, ...] = ()
    label: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        named = next(kind for kind in cls.__mro__ if "NAME" in vars(kind))
        if cls.NAME in ("", own_name(named)):
            cls.NAME = own_name(cls)

    def check(self) -> None:
        """Raise InvalidPlan for settings that contradict each other or the fields. Types are checked before."""

    def features(self) -> tuple[str, ...]:
        """Names of the K features."""
        raise NotImplementedError

    def origins(self) -> tuple[tuple[str, ...], ...]:
        """The fields that each of the K features is made of: features of private ones are left out of archives.

        A feature that is called the same whatever the fields are counts as made of all of them.
        """
        alone = [(field, set(msgspec.structs.replace(self, fields=(field,)).features())) for field in self.fields]
        found = [tuple(field for field, names in alone if name in names) for name in self.features()]
        return tuple(fields if len(fields) == 1 else self.fields for fields in found)

    def shape(self) -> tuple[int, ...]:
        """Of a row of features, when it is more than a list of K."""
        return ()

    def depth(self) -> int:
        """How many readings before the current one it looks back; 0: it doesn't."""
        return 0

    def over(self, past: Past) -> tuple[Float64, Bool]:
        """Features [n, K] and warming [n] of all readings of a frame in the order of `past`, when `depth` is above 0."""
        raise NotImplementedError

    def state(self) -> dict[str, int]:
        """State per device: column → width in float64. New devices start with zeros. Nothing: stateless."""
        return {}

    def step(self, values: Float64, times: Int64, state: State) -> tuple[Float64, Bool, State]:
        """One reading each of m different devices.

        values [m, F] (finite), times [m] (event time, µs), state: column → [m, width], not to be changed. Returns
        features [m, K], warming [m] (without full history: raises no anomaly) and the new state. A stateless
        extractor may get any number of readings of one device at once.
        """
        after = {column: array.copy() for column, array in state.items()}
        features, warming = self.run(values, times, single_round(np.arange(len(values))), after)
        return features, warming, after

    def run(self, values: Float64, times: Int64, rounds: Rounds, state: State) -> tuple[Float64, Bool]:
        """All readings of a frame in the order of `rounds`; changes `state` (rows: the devices of the first round) in
        place."""
        if not state:
            return self.step(values, times, state)[:2]
        parts = []
        for first, last in rounds:
            here = {column: array[: last - first] for column, array in state.items()}
            features, warming, after = self.step(values[first:last], times[first:last], here)
            parts.append((features, warming))
            for column, array in after.items():
                here[column][:] = array
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def migrate(self, version: int, columns: Mapping[str, Float64]) -> State:
        """State columns [devices, width] of an older SCHEMA_VERSION, of the same settings, as all columns of this one. Row by row, as
        `step` works: which devices come together is chance."""
        raise InvalidPlan(
            f"extractor {self.NAME!r}: state of schema version {version} can't be read, only {self.SCHEMA_VERSION}"
        )

    def refuse(self, setting: str, value: Any, allowed: str) -> InvalidPlan:
        """The error for a setting."""
        return InvalidPlan(f"extractor {self.NAME!r}: setting {setting!r} is {value!r}, allowed is {allowed}")
