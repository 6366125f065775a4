"""Readings: the part of a device table that keeps each device's last readings, once for all extractors that look back."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.base import Extractor, State
from swapstream.operators.extractors.past import Past
from swapstream.operators.extractors.rounds import Rounds
from swapstream.operators.frame import Float64
from swapstream.operators.layout import Part

KEY = "readings"
SCHEMA_VERSION = 1
COUNT, VALUES = f"{KEY}.count", f"{KEY}.values"


def part_of(extractors: Iterable[Extractor], fields: tuple[str, ...]) -> Part | None:
    """What must be kept for extractors: as many readings as the one looks back that does so farthest, of the fields that
    any of them looks at; None when no one does."""
    looking = [extractor for extractor in extractors if extractor.depth()]
    if not looking:
        return None
    kept = [field for field in fields if any(field in extractor.fields for extractor in looking)]
    depth = max(extractor.depth() for extractor in looking)
    settings = msgspec.json.encode({"fields": kept}).decode()
    return Part(KEY, KEY, 1, SCHEMA_VERSION, settings, {"count": 1}, {"values": (depth, len(kept))})


def fields_of(part: Part) -> list[str]:
    """The fields that are kept."""
    found: list[str] = msgspec.json.decode(part.settings)["fields"]
    return found


def places_in(names: Iterable[str], among: Iterable[str]) -> list[int] | slice:
    """Places of columns among others; a slice when they are the same."""
    names, among = list(names), list(among)
    return slice(None) if names == among else [among.index(name) for name in names]


def past_of(table: DeviceTable, values: Float64, rounds: Rounds, state: State) -> Past:
    """The past of a frame's readings [n, kept fields] in rounds' order; counts them in `state`, rows as in `rounds`."""
    count = state[COUNT][:, 0]
    numbers = count.astype(np.int64)[rounds.device] + rounds.rank
    count += rounds.counts
    past = Past(values, slice(None), rounds, table.rings[VALUES], numbers, 0, len(values))
    past.begin()
    return past
