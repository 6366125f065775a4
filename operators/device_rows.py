"""Rows of a device table as versioned bytes: one format for snapshots, blocks and journals.

A row is that of one slot. A journal holds what changed of the slots that did, a block all devices of a range of slots,
a snapshot all devices, numbered by age. In each of them a row says whether its device is new to the slot, and holds the
columns whole, but of rings only the readings since then: so a journal with a window of 100 readings is as small as one
without. Kept parts, which never change, are in blocks and snapshots alone; where a journal's device is new, they are zeros.
"""

from __future__ import annotations

import sys
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.layout import Layout

Decoded = TypeVar("Decoded")
I4, I8, F8, U1 = np.dtype("<i4"), np.dtype("<i8"), np.dtype("<f8"), np.dtype("u1")


class DeviceRows(msgspec.Struct, frozen=True):
    """n rows: `devices` are those of the rows that are `renewed`; `fresh` (counting column → [n]) says how many readings
    are new, `cells` (ring → [sum over rows, width]) holds them or as many of the last as the ring does, oldest first."""

    slots: Int64
    renewed: Bool
    devices: list[str]
    order: Int64
    seen: Int64
    columns: dict[str, Float64]
    fresh: dict[str, Int64]
    cells: dict[str, Float64]

    def only(self, keep: Bool, layout: Layout) -> DeviceRows:
        """The rows that `keep` [n] marks."""
        if keep.all():
            return self
        return DeviceRows(
            self.slots[keep],
            self.renewed[keep],
            [device for device, kept in zip(self.devices, keep[self.renewed].tolist(), strict=True) if kept],
            self.order[keep],
            self.seen[keep],
            {name: array[keep] for name, array in self.columns.items()},
            {name: array[keep] for name, array in self.fresh.items()},
            {
                ring: self.cells[ring][np.repeat(keep, np.minimum(self.fresh[counter], depth))]
                for ring, (counter, depth, _) in layout.rings.items()
            },
        )


class StoredRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rows", tag_field="kind"):
    """DeviceRows as little-endian bytes, of the layout with this digest; `removed`: slots where nobody lives any more.
    `number` is that of the journal, or of the last journal that is contained."""

    layout: bytes
    number: int
    slots: bytes
    renewed: bytes
    devices: list[str]
    order: bytes
    seen: bytes
    columns: dict[str, bytes]
    fresh: dict[str, bytes]
    cells: dict[str, bytes]
    removed: bytes = b""
    v: Literal[2] = 2


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="table", tag_field="kind"):
    """A whole table; of version 3 where parts are kept."""

    layout: Layout
    rows: StoredRows
    v: int


def encode_snapshot(layout: Layout, rows: DeviceRows) -> bytes:
    """A table as its rows by age, which stand in for slots and for the numbers of records."""
    ages = np.arange(len(rows.slots))
    stored = store(layout.digest, 0, msgspec.structs.replace(rows, slots=ages, order=ages))
    return msgspec.msgpack.encode(Snapshot(layout, stored, 3 if layout.kept else 2))


def store(layout: bytes, number: int, rows: DeviceRows, removed: Int64 | None = None) -> StoredRows:
    return StoredRows(
        layout,
        number,
        _bytes(rows.slots, I4),
        _bytes(rows.renewed, U1),
        rows.devices,
        _bytes(rows.order, I8),
        _bytes(rows.seen, I8),
        {name: _bytes(array, F8) for name, array in rows.columns.items()},
        {name: _bytes(array, I4) for name, array in rows.fresh.items()},
        {name: _bytes(array, F8) for name, array in rows.cells.items()},
        b"" if removed is None else _bytes(removed, I4),
    )


def load(stored: StoredRows, layout: Layout, digest: bytes, whole: bool = True) -> tuple[DeviceRows, Int64]:
    """Rows, `whole` ones of a block or a snapshot, or a journal's, and removed slots. Raises InvalidDefinition for rows of another
    layout, or that contradict themselves."""
    layout = layout.whole if whole else layout
    if stored.layout != digest:
        raise InvalidDefinition("device state is of another layout than the table that it belongs to")
    slots = _slots(stored.slots, "slots")
    n = len(slots)
    renewed = array_of(stored.renewed, U1, "renewed", n).astype(bool)
    if len(stored.devices) != renewed.sum():
        raise InvalidDefinition(f"device state names {len(stored.devices)} devices, allowed is {renewed.sum()}")
    columns = floats(stored.columns, {name: (n, width) for name, width in layout.columns.items()})
    fresh = _fresh(stored.fresh, layout, n)
    sizes = {ring: (int(np.minimum(fresh[c], depth).sum()), width) for ring, (c, depth, width) in layout.rings.items()}
    order, seen = array_of(stored.order, I8, "order", n), array_of(stored.seen, I8, "seen", n)
    rows = DeviceRows(slots, renewed, stored.devices, order, seen, columns, fresh, floats(stored.cells, sizes))
    return rows, _slots(stored.removed, "removed slots")


def decode(data: bytes, kind: type[Decoded]) -> Decoded:
    """Raises InvalidDefinition."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidDefinition(f"device state can't be read by this release: {error}") from error


def _slots(data: bytes, name: str) -> Int64:
    slots: Int64 = array_of(data, I4, name).astype(np.int64)
    if len(slots) and (slots[0] < 0 or (np.diff(slots) <= 0).any()):
        raise InvalidDefinition(f"device state has {name} out of order or below 0")
    return slots


def _fresh(found: dict[str, bytes], layout: Layout, n: int) -> dict[str, Int64]:
    counters = {counter for counter, *_ in layout.rings.values()}
    _check_names(found, counters)
    fresh = {counter: array_of(found[counter], I4, counter, n).astype(np.int64) for counter in counters}
    if any((array < 0).any() for array in fresh.values()):
        raise InvalidDefinition("device state has a number of new readings below 0")
    return fresh


def floats(found: dict[str, bytes], sizes: dict[str, tuple[int, int]]) -> dict[str, Float64]:
    _check_names(found, sizes)
    return {name: array_of(found[name], F8, name, rows * w).reshape(rows, w) for name, (rows, w) in sizes.items()}


def _check_names(found: dict[str, bytes], allowed: Any) -> None:
    if found.keys() != set(allowed):
        raise InvalidDefinition(f"device state has columns {', '.join(found)}, allowed are {', '.join(allowed)}")


def array_of(data: bytes, dtype: np.dtype[Any], name: str, size: int | None = None) -> Any:
    if len(data) % dtype.itemsize or (size is not None and len(data) != dtype.itemsize * size):
        allowed = f"a multiple of {dtype.itemsize}" if size is None else dtype.itemsize * size
        raise InvalidDefinition(f"device state: {name} has {len(data)} bytes, allowed is {allowed}")
    return np.frombuffer(data, dtype)


def _bytes(array: Any, dtype: np.dtype[Any]) -> bytes:
    data: bytes = (
        array.byteswap() if sys.byteorder == "big" and array.dtype == dtype else array.astype(dtype, copy=False)
    ).tobytes()
    return data
