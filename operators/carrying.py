"""Carrying: what the device table of one plan hands on to that of the next, and what of it is kept until the swap after that.

Nothing but the layouts decides this, no extractor's code: so a table whose bytes are still half those of the layout before is read
back as it was (device_store.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors import readings
from swapstream.operators.extractors.readings import COUNT, VALUES
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.layout import Layout, Part

KEPT = "kept/"
"""Before the key of a part that is kept."""


def carry(table: DeviceTable, parts: tuple[Part, ...], keep: bool = True) -> DeviceTable:
    """The same devices with other parts; the table is used up.

    A part that means the same goes on, that of the table before the one that is kept; readings go on as far as they are there. What
    the new parts don't go on with is kept as it is now, and what was kept before is dropped. Without `keep` that stays instead.

    Rows are taken over when they are first needed, so that this costs the same for one device and for a million.
    """
    old = table.layout
    kept = _set_aside(old, parts) if keep else old.kept
    arrays = table.arrays()
    asides = {name: arrays[name.removeprefix(KEPT) if keep else name] for name in _names(kept)}
    moves, shared = _moves(old, parts, arrays)
    return table.handed_over(Layout(parts, kept), asides, shared, moves)


def goes_on(part: Part, old: Layout) -> bool:
    """Whether a part, or the readings of all its fields, is among those in use."""
    return any(part.means(one) or _holds(one, part) for one in old.parts)


def all_there(part: Part, old: Layout) -> bool:
    """The same, with as many readings as it looks back at."""
    return any(part.means(one) or _covers(one, part) for one in old.parts)


class Moves(NamedTuple):
    """How rows are taken over: columns of the new table with the arrays that they come from, and where readings come from, the first
    that has most of them."""

    columns: list[tuple[str, Float64]]
    part: Part | None
    sources: list[Source]

    def fill(self, table: DeviceTable, slots: Int64) -> None:
        """Take over the rows of these slots."""
        columns = table.live()
        for name, array in self.columns:
            columns[name][slots] = array[slots]
        if self.part and self.sources:
            found = [source.readings(self.part, slots) for source in self.sources]
            count, cells = found[0]
            for more, others in found[1:]:
                better = more > count
                count, cells = np.where(better, more, count), np.where(better[:, None, None], others, cells)
            columns[COUNT][slots, 0], table.rings[VALUES][slots] = count, cells


class Source(NamedTuple):
    """Readings of another table."""

    part: Part
    count: Float64  # type: ignore[assignment]  # tuple has a method of this name
    ring: Float64

    def readings(self, wanted: Part, slots: Int64) -> tuple[Int64, Float64]:
        """As many as both keep: how many, and the ring [slots, depth, fields] that holds them."""
        (depth, _), (room, width) = self.part.rings["values"], wanted.rings["values"]
        before = self.count[slots, 0].astype(np.int64)
        after = np.minimum(before, min(depth, room))
        lags = np.arange(1, room + 1)
        cells = self.ring[slots[:, None], (before[:, None] - np.minimum(lags, depth)) % depth]
        ring = np.empty((len(slots), room, width))
        places = readings.places_in(readings.fields_of(wanted), readings.fields_of(self.part))
        ring[np.arange(len(slots))[:, None], (after[:, None] - lags) % room] = cells[:, :, places]
        return after, ring


def _set_aside(old: Layout, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """What of the parts in use the new ones don't go on with."""
    left = (part for part in old.parts if not any(part.means(new) or _covers(new, part) for new in parts))
    return tuple(msgspec.structs.replace(part, key=KEPT + part.key) for part in left)


def _names(parts: tuple[Part, ...]) -> list[str]:
    layout = Layout(parts)
    return [*layout.columns, *layout.rings]


def _moves(old: Layout, parts: tuple[Part, ...], arrays: Mapping[str, Float64]) -> tuple[Moves, dict[str, Float64]]:
    """How rows are taken over, and rings that are, whole."""
    columns: list[tuple[str, Float64]] = []
    shared: dict[str, Float64] = {}
    changed: Part | None = None
    sources: list[Source] = []
    for part in parts:
        same = next((one for one in (*old.parts, *old.kept) if part.means(one)), None)
        if part.name == readings.KEY and (same is None or same in old.kept):
            changed, sources = part, _sources(part, old, arrays)
        elif same:
            columns += [(f"{part.key}.{column}", arrays[f"{same.key}.{column}"]) for column in part.columns]
            shared |= {f"{part.key}.{ring}": arrays[f"{same.key}.{ring}"] for ring in part.rings}
    return Moves(columns, changed, sources), shared


def _sources(wanted: Part, old: Layout, arrays: Mapping[str, Float64]) -> list[Source]:
    """Where readings of all wanted fields are, those in use before those that are kept."""
    found = (part for part in (*old.parts, *old.kept) if _holds(part, wanted))
    return [Source(part, arrays[f"{part.key}.count"], arrays[f"{part.key}.values"]) for part in found]


def _holds(one: Part, wanted: Part) -> bool:
    """Whether both are readings, and those of `one` of all fields that are wanted."""
    alike = one.name == wanted.name == readings.KEY and one.schema_version == wanted.schema_version
    return alike and set(readings.fields_of(wanted)) <= set(readings.fields_of(one))


def _covers(new: Part, old: Part) -> bool:
    """Whether readings hold all that others do."""
    return _holds(new, old) and new.rings["values"][0] >= old.rings["values"][0]
