"""The device table: what a shard remembers about each device, as columns, and its bytes: snapshots and journals.

A snapshot is all of it. A journal is what changed since the one before, so that a frame that touched 250 of 100,000
devices writes 250 rows: a table is a snapshot plus the journals after it, in order, none left out. Both are msgpack
with a version, the layout, device ids and raw little-endian columns; the same content gives the same bytes, whatever
frames and journals it came from.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.frame import Float64, Int64

Width = Annotated[int, Meta(ge=1, le=65_536)]
Decoded = TypeVar("Decoded")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of one extractor: columns (name → float64s a device) and what gives them their meaning.

    `key` is its prefix in the table, `settings` are canonical JSON with the fields, `version` that of its code.
    """

    key: str
    name: str
    version: int
    schema_version: int
    settings: str
    columns: dict[str, Width]


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All columns of a table."""

    parts: tuple[Part, ...]

    @property
    def columns(self) -> dict[str, int]:
        """Column of the table → width."""
        return {f"{part.key}.{column}": width for part in self.parts for column, width in part.columns.items()}

    @property
    def digest(self) -> bytes:
        """Names a layout in journals."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).digest()[:16]


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="devices", tag_field="kind"):
    """A whole table: `seen` and `columns` hold one row a device, in the order of `devices`."""

    layout: Layout
    devices: list[str]
    seen: bytes
    columns: dict[str, bytes]
    v: Literal[1] = 1


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="journal", tag_field="kind"):
    """Changed rows: `slots` (ascending int64) of a table that had `base` devices before `devices` were added."""

    layout: bytes
    base: int
    devices: list[str]
    slots: bytes
    seen: bytes
    columns: dict[str, bytes]
    v: Literal[1] = 1


class Slots(dict[str, int]):
    """Device → slot, numbered in the order of first appearance. Looking up an unknown device adds it."""

    def __missing__(self, device: str) -> int:
        slot = self[device] = len(self)
        return slot


class DeviceTable:
    """Rows of float64 columns by device, and the log time (ms) at which each was last seen.

    `columns` (name → [capacity, width]) and `seen` ([capacity]) have room for more rows than `len()`; new devices
    start with zeros. The rows handed out by `slots` count as changed. `needs_rebase`: the bytes it came from have
    another layout, so that no journal can follow them; write `rebase()` instead.
    """

    def __init__(self, layout: Layout, capacity: int = 64) -> None:
        self.layout = layout
        self.columns: dict[str, Float64] = {name: np.zeros((capacity, w)) for name, w in layout.columns.items()}
        self.seen: Int64 = np.zeros(capacity, np.int64)
        self._slots = Slots()
        self._dirty = np.zeros(capacity, bool)
        self._base = 0
        self.needs_rebase = False
        self._digest = layout.digest

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def devices(self) -> list[str]:
        """Ids in the order of their slots."""
        return list(self._slots)

    def slots(self, devices: Sequence[str], log_times: Int64) -> Int64:
        """Slots [n] of the devices of a frame's records, in the log's order; marks them changed and seen."""
        slots = np.fromiter(map(self._slots.__getitem__, devices), np.int64, len(devices))
        self._grow(len(self._slots))
        self.seen[slots] = log_times
        self._dirty[slots] = True
        return slots

    def take_journal(self) -> bytes:
        """What changed since the journal before (or `rebase`, or reading the table)."""
        rows = np.flatnonzero(self._dirty[: len(self)])
        new = list(self._slots)[self._base :] if len(self) > self._base else []
        columns = {name: _bytes(array[rows]) for name, array in self.columns.items()}
        journal = Journal(self._digest, self._base, new, _bytes(rows), _bytes(self.seen[rows]), columns)
        self._clean()
        return msgspec.msgpack.encode(journal)

    def apply_journal(self, data: bytes) -> None:
        """Take over the changes that another table wrote after the state that this one has. Raises InvalidDefinition,
        and then leaves the table as it was."""
        journal = _decode(data, Journal)
        if journal.layout != self._digest:
            raise InvalidDefinition("device journal is of another layout than the table it is applied to")
        if journal.base != len(self):
            raise InvalidDefinition(
                f"device journal follows a table of {journal.base} devices, this one has {len(self)}: one is missing"
            )
        slots = _array(journal.slots, np.dtype("<i8"), "slots")
        total = self._total(journal)
        if len(slots) and (slots[0] < 0 or slots[-1] >= total or (np.diff(slots) <= 0).any()):
            raise InvalidDefinition(f"device journal has slots out of order or beyond {total}")
        seen, columns = _rows(journal, self.layout, len(slots))
        self._write(journal.devices, slots, seen, columns)

    def snapshot(self) -> bytes:
        """The whole table. Journals go on as if nothing had happened."""
        n = len(self)
        columns = {name: _bytes(array[:n]) for name, array in self.columns.items()}
        return msgspec.msgpack.encode(Snapshot(self.layout, list(self._slots), _bytes(self.seen[:n]), columns))

    def rebase(self) -> bytes:
        """A snapshot that the next journal follows: for folding journals."""
        self._clean()
        self.needs_rebase = False
        return self.snapshot()

    def _write(self, devices: list[str], slots: Int64, seen: Int64, columns: dict[str, Float64]) -> None:
        for device in devices:
            self._slots[device] = len(self._slots)
        self._grow(len(self))
        self.seen[slots] = seen
        for name, array in columns.items():
            self.columns[name][slots] = array
        self._clean()

    def _total(self, journal: Journal) -> int:
        if len(set(journal.devices)) < len(journal.devices) or not self._slots.keys().isdisjoint(journal.devices):
            raise InvalidDefinition("device journal names a new device that is there already")
        return len(self) + len(journal.devices)

    def _clean(self) -> None:
        self._dirty[:] = False
        self._base = len(self)

    def _grow(self, size: int) -> None:
        """Double the capacity until `size` rows fit."""
        capacity = len(self.seen)
        if size <= capacity:
            return
        while capacity < size:
            capacity *= 2
        self.seen = _padded(self.seen, capacity)
        self._dirty = _padded(self._dirty, capacity)
        self.columns = {name: _padded(array, capacity) for name, array in self.columns.items()}


def read_table(snapshot: bytes, journals: Iterable[bytes] = ()) -> DeviceTable:
    """The table that was written, under the layout it was written with. Raises InvalidDefinition for other bytes."""
    read = _decode(snapshot, Snapshot)
    n = len(read.devices)
    if len(set(read.devices)) < n:
        raise InvalidDefinition("device snapshot names a device twice")
    seen, columns = _rows(read, read.layout, n)
    table = DeviceTable(read.layout, max(64, n))
    table._write(read.devices, np.arange(n), seen, columns)
    for journal in journals:
        table.apply_journal(journal)
    return table


def _decode(data: bytes, kind: type[Decoded]) -> Decoded:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidDefinition(f"device state is not a {kind.__name__.lower()} of version 1: {error}") from error


def _rows(read: Snapshot | Journal, layout: Layout, n: int) -> tuple[Int64, dict[str, Float64]]:
    """seen [n] and columns [n, width], sizes checked."""
    widths = layout.columns
    if read.columns.keys() != widths.keys():
        raise InvalidDefinition(f"device state has columns {', '.join(read.columns)}, allowed are {', '.join(widths)}")
    seen = _array(read.seen, np.dtype("<i8"), "seen", n)
    columns = {name: _array(read.columns[name], np.dtype("<f8"), name, n * w) for name, w in widths.items()}
    return seen, {name: column.reshape(n, -1 if n else widths[name]) for name, column in columns.items()}


def _array(data: bytes, dtype: np.dtype[Any], name: str, size: int | None = None) -> Any:
    if len(data) % 8 or (size is not None and len(data) != 8 * size):
        allowed = "a multiple of 8" if size is None else 8 * size
        raise InvalidDefinition(f"device state: {name} has {len(data)} bytes, allowed is {allowed}")
    return np.frombuffer(data, dtype)


def _bytes(array: Float64 | Int64) -> bytes:
    return (array.byteswap() if sys.byteorder == "big" else array).tobytes()


def _padded(array: Any, capacity: int) -> Any:
    grown = np.zeros((capacity, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
