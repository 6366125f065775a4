"""The device table: what a shard remembers about each device, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from swapstream.operators.device_log import DeviceLog
from swapstream.operators.device_rows import DeviceRows, encode_snapshot
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.layout import Layout
from swapstream.operators.retention import DEFAULT_RETENTION, Retention
from swapstream.operators.rings import fill, newest
from swapstream.operators.slots import Slots


class Giver(Protocol):
    """Whose rows a table takes over."""

    def fill(self, table: DeviceTable, slots: Int64) -> None:
        """Write columns and rings of these slots."""


class DeviceTable(Slots):
    """Rows of float64 columns by device.

    - columns: name → [capacity, width], rings: name → [capacity, depth, width] (see `Part`). There is room for more
      rows than devices. New devices start with zeros in columns; rings are the caller's to fill.
    - kept: columns and rings of the layout's kept parts, by name. Nobody changes them, but that of a new device they are zeros.

    What is stored is a set of entries (key → bytes). `changes()` gives those to put, or with None to remove, since the
    call before; `rebase()` gives all of them, to replace whatever was there. `needs_rebase`: only that can follow.
    """

    def __init__(self, layout: Layout, retention: Retention = DEFAULT_RETENTION, capacity: int = 64) -> None:
        super().__init__(retention, capacity)
        self.layout = layout
        self._places = _places(layout.columns)
        self._data: Float64 = np.zeros((capacity, sum(layout.columns.values())))
        self.rings: dict[str, Float64] = {
            name: np.zeros((capacity, *size)) for name, (_, *size) in layout.rings.items()
        }
        self.kept = _empty(layout, capacity)
        self.needs_rebase = True
        self._log = DeviceLog(layout)
        self._unwritten = np.zeros(capacity, bool)
        self._renewed = np.zeros(capacity, bool)
        self._written = np.zeros(capacity, np.int64)
        self._giver: Giver | None = None
        self._waiting = np.zeros(capacity, bool)
        self._left: dict[str, bytes | None] = {}

    @property
    def columns(self) -> dict[str, Float64]:
        """Views of the columns, good until the next device comes."""
        self._take(np.flatnonzero(self._waiting))
        return self.live()

    def live(self) -> dict[str, Float64]:
        """The same, of rows that were taken over."""
        return {name: self._data[:, place] for name, place in self._places.items()}

    def arrays(self) -> dict[str, Float64]:
        """Columns and rings, kept ones included."""
        return {**self.columns, **self.rings, **self.kept}

    def row(self, device: str) -> dict[str, list[float]]:
        """What is remembered of one device, by column; of a ring all cells in their order. Empty for a device that is not known."""
        slot = self._slots.get(device)
        return {} if slot is None else {name: array[slot].ravel().tolist() for name, array in {**self.columns, **self.rings}.items()}

    # -- records

    def slots(self, devices: Sequence[str], log_times: Int64) -> Int64:
        """As Slots has it; what is in them is changed by the caller."""
        slots = super().slots(devices, log_times)
        self._unwritten[slots] = True
        if self._giver:
            self._take(slots)
        return slots

    def state(self, slots: Int64) -> dict[str, Float64]:
        """Columns of these slots, copied. A row lies in one piece, since in a large table its place in memory is what costs."""
        data = self._data[slots]
        return {name: np.ascontiguousarray(data[:, place]) for name, place in self._places.items()}

    def keep(self, slots: Int64, state: dict[str, Float64]) -> None:
        """Write columns of these slots."""
        self._data[slots] = np.concatenate([state[name] for name in self._places], axis=1)

    def _came(self, slots: list[int]) -> None:
        self._data[slots] = 0.0
        for array in self.kept.values():
            array[slots] = 0.0
        self._waiting[slots] = False
        self._written[slots] = 0
        self._renewed[slots] = True

    def _went(self, slots: Int64) -> None:
        self._unwritten[slots] = True

    def _widen(self, capacity: int) -> None:
        self._unwritten, self._renewed = _padded(self._unwritten, capacity), _padded(self._renewed, capacity)
        self._written, self._waiting = _padded(self._written, capacity), _padded(self._waiting, capacity)
        self._data = _padded(self._data, capacity)
        self.rings = {name: _padded(array, capacity) for name, array in self.rings.items()}
        self.kept = {name: _padded(array, capacity) for name, array in self.kept.items()}

    # -- bytes

    def snapshot(self) -> bytes:
        """The whole table in one piece: the same content gives the same bytes, whatever frames and entries it came
        from. Changes go on as if nothing had happened."""
        return encode_snapshot(self.layout, self.rows(self._by_age()))

    def rebase(self) -> dict[str, bytes | None]:
        """All entries, to replace what is there."""
        self._settle(np.flatnonzero(self._unwritten))
        self.needs_rebase, self._left = False, {}
        entries = self._log.rebase(self)
        self._giver = None
        return entries

    def changes(self) -> dict[str, bytes | None]:
        """Entries to put, or with None to remove, since the call before, or since the table was read."""
        entries, self._left = self._left, {}
        slots = np.flatnonzero(self._unwritten[: len(self.names)])
        if len(slots):
            self._log.write(self, slots, self._renewed[slots], self._written[slots], entries)
            self._settle(slots)
        self._log.move(self, entries)
        if not self._log.moving:  # every row was needed for that
            self._giver = None
        return entries

    def rows(self, slots: Int64) -> DeviceRows:
        """Rows of slots where devices live, whole: kept parts as well."""
        self._take(slots)
        columns = self.state(slots)
        columns |= {name: self.kept[name][slots] for name in Layout(self.layout.kept).columns}
        return self._rows(slots, np.ones(len(slots), bool), columns, self.layout.whole, np.zeros(len(slots), np.int64))

    def new_rows(self, slots: Int64, renewed: Bool, written: Int64) -> DeviceRows:
        """What is new in rows of slots where devices live."""
        return self._rows(slots, renewed, self.state(slots), self.layout, written)

    def _rows(self, slots: Int64, renewed: Bool, columns: dict[str, Float64], layout: Layout, written: Int64) -> DeviceRows:
        names, rings = self.names, layout.rings
        fresh = {counter: columns[counter][:, 0].astype(np.int64) - written for counter, *_ in rings.values()}
        return DeviceRows(
            slots,
            renewed,
            [names[slot] for slot in slots[renewed].tolist()],  # type: ignore[misc]
            self.recency.order[slots],
            self.recency.seen[slots],
            columns,
            fresh,
            {
                ring: newest(self._ring(ring), slots, columns[counter], fresh[counter], depth)
                for ring, (counter, depth, _) in rings.items()
            },
        )

    def restore(self, rows: DeviceRows) -> None:
        """Take over stored rows, whole ones or what was new in them; `finish` when all are there."""
        slots = rows.slots
        self._reserve(int(slots.max(initial=-1)) + 1)
        for slot, device in zip(slots[rows.renewed].tolist(), rows.devices, strict=True):
            self.names[slot] = device
        self.recency.order[slots], self.recency.seen[slots] = rows.order, rows.seen
        self._take(slots[~rows.renewed])
        self._waiting[slots] = False
        for array in self.kept.values():
            array[slots[rows.renewed]] = 0.0
        if self._places:
            self.keep(slots, rows.columns)
        for name in self.kept.keys() & rows.columns.keys():
            self.kept[name][slots] = rows.columns[name]
        for ring in rows.cells:
            counter = self.layout.whole.rings[ring][0]
            fill(self._ring(ring), slots, rows.cells[ring], rows.columns[counter][:, 0].astype(np.int64), rows.fresh[counter])

    def finish(self, log: DeviceLog | None = None) -> DeviceTable:
        """Ready for records, after all stored rows; changes go on with `log`. Raises ValueError when a device is there
        twice."""
        self._finish()
        self._settle(np.arange(len(self.names)))
        self._log, self.needs_rebase = log or self._log, log is None
        return self

    def handed_over(self, layout: Layout, kept: Mapping[str, Float64], rings: Mapping[str, Float64], giver: Giver) -> DeviceTable:
        """The same devices in the same slots of another layout. This one is used up.

        Rows are taken over from `giver` when they are needed; `kept` has the columns and rings of the kept parts, `rings` those that
        stay as they are.
        """
        other = DeviceTable(layout, self.retention, len(self._unwritten))
        other._succeed(self)
        other.kept |= kept
        other.rings |= rings
        other._giver = giver
        other._waiting[list(self._slots.values())] = True
        if not (self.needs_rebase or self._log.moving):
            other._left, other._log, other.needs_rebase = self.changes(), self._log.moved(layout), False
            other._left["layout"] = other._log.head()
        return other

    def _take(self, slots: Int64) -> None:
        """Take over the rows of these slots that still wait for it."""
        due = slots[self._waiting[slots]]
        if self._giver and len(due):
            self._waiting[due] = False
            self._giver.fill(self, due)
            self._settle_rings(due)

    def _ring(self, name: str) -> Float64:
        return self.rings[name] if name in self.rings else self.kept[name]

    def _settle(self, slots: Int64) -> None:
        """All of these is written."""
        self._unwritten[slots] = self._renewed[slots] = False
        self._settle_rings(slots)

    def _settle_rings(self, slots: Int64) -> None:
        """Their readings are known to whoever reads what is stored."""
        columns = self.live()
        for counter in {counter for counter, *_ in self.layout.rings.values()}:
            self._written[slots] = columns[counter][slots, 0]


def _places(columns: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum([0, *columns.values()]).tolist()
    return {name: slice(first, last) for name, first, last in zip(columns, ends, ends[1:], strict=False)}


def _empty(layout: Layout, capacity: int) -> dict[str, Float64]:
    """Columns and rings of the kept parts, of nobody."""
    kept = Layout(layout.kept)
    sizes = {name: (width,) for name, width in kept.columns.items()} | {name: tuple(size) for name, (_, *size) in kept.rings.items()}
    return {name: np.zeros((capacity, *size)) for name, size in sizes.items()}


def _padded(array: Any, capacity: int) -> Any:
    grown = np.zeros((capacity, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
