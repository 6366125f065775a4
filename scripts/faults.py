"""Faults that sensors have, planned at random and put into healthy values. Pure: the same seed gives the same faults.

    spike        a few readings far off
    drift        slides away, further with each reading
    stuck        repeats the first value
    dropout      reads 0
    noise        many times the usual noise
    level_shift  off by a constant
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.operators.frame import Float64

LENGTHS = {"spike": (1, 3), "drift": (60, 200), "stuck": (30, 120), "dropout": (20, 60), "noise": (20, 100),
           "level_shift": (30, 120)}
"""Shortest and longest in readings of the device."""

SIZES = {"spike": (8.0, 15.0), "drift": (6.0, 12.0), "stuck": (0.0, 0.0), "dropout": (0.0, 0.0), "noise": (5.0, 10.0),
         "level_shift": (5.0, 10.0)}
"""Least and greatest size, in healthy standard deviations of the field."""

KINDS = tuple(LENGTHS)
QUIET = 50
"""So many healthy readings at least before each fault."""


class Fault(msgspec.Struct, frozen=True):
    """Readings `first` to `last` (inclusive, counted from 0) of one device; `size` is signed."""

    kind: str
    fields: tuple[int, ...]
    first: int
    last: int
    size: float
    seed: int


def parse_kinds(text: str) -> tuple[str, ...]:
    """"spike,drift", "all" or "none". Raises InvalidSettings."""
    if text in ("all", "none"):
        return KINDS if text == "all" else ()
    kinds = tuple(kind.strip() for kind in text.split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidSettings(f"fault {kind!r}: one of {', '.join(KINDS)}, or all or none")
    return kinds


def plan(kinds: Sequence[str], rate: float, fields: int, seed: Sequence[int]) -> Iterator[Fault]:
    """One device's faults, in order and without end, so that about `rate` (0 to 1) of its readings are faulty."""
    if not kinds or rate <= 0:
        return
    rng = np.random.default_rng(seed)
    length = np.mean([sum(LENGTHS[kind]) / 2 for kind in kinds])
    gap = max(float(length) * (1 - rate) / rate - QUIET, 0.0)
    at = 0
    while True:
        kind = kinds[int(rng.integers(len(kinds)))]
        first = at + QUIET + int(rng.exponential(gap))
        at = first + int(rng.integers(LENGTHS[kind][0], LENGTHS[kind][1] + 1))
        chosen = rng.choice(fields, size=min(fields, int(rng.integers(1, 4))), replace=False)
        size = float(rng.uniform(*SIZES[kind]) * rng.choice([-1.0, 1.0]))
        yield Fault(kind, tuple(sorted(chosen.tolist())), first, at - 1, size, int(rng.integers(2**63)))


def inject(fault: Fault, values: Float64, at: int, deviations: Float64, held: Float64) -> None:
    """Change the readings [n, F] of one device, the first of which is its reading `at`, where the fault covers them.

    `deviations` [F] are the fields' healthy standard deviations, `held` [F] the healthy values at `fault.first`.
    """
    first, stop = max(fault.first - at, 0), min(fault.last + 1 - at, len(values))
    if first >= stop:
        return
    fields = list(fault.fields)
    done = np.arange(first + at - fault.first, stop + at - fault.first)  # readings of the fault before each one
    part, unit = values[first:stop, fields], deviations[fields]
    if fault.kind == "stuck":
        part = np.broadcast_to(held[fields], part.shape)
    elif fault.kind == "dropout":
        part = np.zeros_like(part)
    elif fault.kind == "noise":
        part = part + abs(fault.size) * unit * _noise(fault)[done]
    elif fault.kind == "drift":
        part = part + fault.size * unit * ((done + 1) / (fault.last + 1 - fault.first))[:, None]
    else:
        part = part + fault.size * unit
    values[first:stop, fields] = part


def _noise(fault: Fault) -> Float64:
    # Drawn for the whole fault each time, so that it does not depend on where the readings are cut.
    return np.random.default_rng(fault.seed).normal(size=(fault.last + 1 - fault.first, len(fault.fields)))
