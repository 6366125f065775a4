"""The device table: what a shard remembers about each device, as columns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

import numpy as np

from swapstream.operators.device_log import DeviceLog
from swapstream.operators.device_rows import DeviceRows, encode_snapshot
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.layout import Layout
from swapstream.operators.recency import NEVER, Recency
from swapstream.operators.retention import DEFAULT_RETENTION, Retention

BEGINNING = np.iinfo(np.int64).min


class Giver(Protocol):
    """Whose rows a table takes over."""

    def fill(self, table: DeviceTable, slots: Int64) -> None:
        """Write columns and rings of these slots."""


class DeviceTable:
    """Rows of float64 columns by device, and when each was last seen; bounded by a retention.

    - columns: name → [capacity, width], rings: name → [capacity, depth, width] (see `Part`). There is room for more
      rows than devices. New devices start with zeros in columns; rings are the caller's to fill.
    - kept: columns and rings of the layout's kept parts, by name. Nobody changes them, but that of a new device they are zeros.
    - names: device of each slot, None where none lives. Slots of the forgotten are used again, so which slot a device
      has depends on frames; nothing else does.
    - clock: log time, the running maximum of all records' log timestamps, in ms.

    What is stored is a set of entries (key → bytes). `changes()` gives those to put, or with None to remove, since the
    call before; `rebase()` gives all of them, to replace whatever was there. `needs_rebase`: only that can follow.
    """

    def __init__(self, layout: Layout, retention: Retention = DEFAULT_RETENTION, capacity: int = 64) -> None:
        self.layout, self.retention = layout, retention
        self._places = _places(layout.columns)
        self._data: Float64 = np.zeros((capacity, sum(layout.columns.values())))
        self.rings: dict[str, Float64] = {
            name: np.zeros((capacity, *size)) for name, (_, *size) in layout.rings.items()
        }
        self.kept = _empty(layout, capacity)
        self.names: list[str | None] = []
        self.recency = Recency(capacity)
        self.clock = BEGINNING
        self.needs_rebase = True
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._freed: list[int] = []
        self._log = DeviceLog(layout)
        self._unwritten = np.zeros(capacity, bool)
        self._renewed = np.zeros(capacity, bool)
        self._written = np.zeros(capacity, np.int64)
        self._giver: Giver | None = None
        self._waiting = np.zeros(capacity, bool)
        self._left: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def devices(self) -> list[str]:
        """Ids, the one seen longest ago first."""
        return [self.names[slot] for slot in self._by_age().tolist()]  # type: ignore[misc]

    @property
    def seen(self) -> Int64:
        """Log clock (ms) at each device's last record, in the order of `devices`."""
        return self.recency.seen[self._by_age()]

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
        """Slots [n ≥ 1] of the devices of a frame's records, in the log's order; marks them seen.

        A device that the retention lets go between two of these records has another slot after that: its state is new.
        What is forgotten is decided record by record, the same for every cutting into frames.
        """
        clock = np.maximum(np.maximum.accumulate(log_times), self.clock)
        self.clock = int(clock[-1])
        self._remove(self.recency.before(int(clock[0]) - self.retention.evict_after))
        self._release()
        found = np.fromiter(map(self._slots.get, devices, repeat(-1)), np.int64, len(devices))
        slots = found if self._stay(found, clock) and self._admit(found, devices) else self._one_by_one(devices, clock)
        self._grow(len(self.names))
        self.recency.touch(slots, clock)
        if slots is not found:
            self.recency.forget(slots[[self.names[slot] is None for slot in slots.tolist()]])
            self._release()
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

    def retain(self, retention: Retention) -> None:
        """From the next record on, under other bounds."""
        for evict_after in (self.retention.evict_after, retention.evict_after):
            self._remove(self.recency.before(self.clock - evict_after) if len(self) else np.empty(0, np.int64))
        self._remove(self.recency.oldest(max(0, len(self) - retention.max)))
        self._release()
        self.retention = retention

    def _stay(self, found: Int64, clock: Int64) -> bool:
        """Whether no device of these can grow too old between the first of these records and the last."""
        limit = self.clock - self.retention.evict_after
        known = found[found >= 0]
        return int(clock[0]) >= limit and (not len(known) or int(self.recency.seen[known].min()) >= limit)

    def _admit(self, found: Int64, devices: Sequence[str]) -> bool:
        """Give slots to the new among the devices (−1 in `found`, filled in); false, and nothing done, when that may
        need one of the others."""
        places = np.flatnonzero(found < 0).tolist()
        if not places:
            return True
        new = dict.fromkeys(devices[place] for place in places)
        excess = len(self) + len(new) - self.retention.max
        if excess > 0:
            oldest = self.recency.oldest(excess)
            if len(oldest) < excess or np.isin(oldest, found).any():
                return False
            self._remove(oldest)
            self._release()
        self._add(new)
        found[places] = [self._slots[devices[place]] for place in places]
        return True

    def _one_by_one(self, devices: Sequence[str], clock: Int64) -> Int64:
        """Slots of records where who is forgotten depends on the records themselves. A slot that is freed here stays
        empty until the frame is done, since earlier records of the frame still work in it."""
        slots: list[int] = []
        touched: OrderedDict[int, int] = OrderedDict()
        waiting = iter(self.recency.oldest(2 * len(devices)).tolist())
        for device, now in zip(devices, clock.tolist(), strict=True):
            slot = self._slots.get(device, -1)
            if slot >= 0 and now - touched.get(slot, int(self.recency.seen[slot])) > self.retention.evict_after:
                self._forget(slot, touched)
                slot = -1
            if slot < 0:
                if len(self) >= self.retention.max:
                    self._forget(self._first(waiting, touched), touched)
                slot = self._add([device])
            touched[slot] = now
            touched.move_to_end(slot)
            slots.append(slot)
        return np.array(slots, np.int64)

    def _first(self, waiting: Iterable[int], touched: OrderedDict[int, int]) -> int:
        """The slot seen longest ago: of those without a record in this frame if there is one."""
        for slot in waiting:
            if slot not in touched and self.names[slot] is not None:
                return slot
        return next(iter(touched))

    def _forget(self, slot: int, touched: OrderedDict[int, int]) -> None:
        touched.pop(slot, None)
        self._remove(np.array([slot]))

    # -- slots

    def _add(self, devices: Iterable[str]) -> int:
        """Give each device a slot of its own, zeroed; returns the last one."""
        slots = []
        for device in devices:
            slot = self._free.pop() if self._free else len(self.names)
            if slot == len(self.names):
                self.names.append(device)
            else:
                self.names[slot] = device
            self._slots[device] = slot
            slots.append(slot)
        self._grow(len(self.names))
        self._data[slots] = 0.0
        for array in self.kept.values():
            array[slots] = 0.0
        self._waiting[slots] = False
        self._written[slots] = 0
        self._renewed[slots] = True
        return slots[-1]

    def _remove(self, slots: Int64) -> None:
        if not len(slots):
            return
        for slot in slots.tolist():
            device = self.names[slot]
            assert device is not None
            del self._slots[device]
            self.names[slot] = None
        self._freed += slots.tolist()
        self.recency.forget(slots)
        self._unwritten[slots] = True

    def _release(self) -> None:
        """What was freed may be used again."""
        self._free += self._freed
        self._freed = []

    def _grow(self, size: int) -> None:
        """Double the capacity until `size` rows fit."""
        capacity = len(self._unwritten)
        if size <= capacity:
            return
        while capacity < size:
            capacity *= 2
        self.recency.grow(capacity)
        self._unwritten, self._renewed = _padded(self._unwritten, capacity), _padded(self._renewed, capacity)
        self._written, self._waiting = _padded(self._written, capacity), _padded(self._waiting, capacity)
        self._data = _padded(self._data, capacity)
        self.rings = {name: _padded(array, capacity) for name, array in self.rings.items()}
        self.kept = {name: _padded(array, capacity) for name, array in self.kept.items()}

    def _by_age(self) -> Int64:
        """Slots of the devices that are remembered at this clock, the one seen longest ago first."""
        seen, order = self.recency.seen, self.recency.order
        living = np.flatnonzero((order != NEVER) & (seen >= self.clock - self.retention.evict_after))
        return living[np.argsort(order[living])]

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
                ring: _cells(self._ring(ring), slots, columns[counter], fresh[counter], depth)
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
            _fill(self._ring(ring), slots, rows.cells[ring], rows.columns[counter][:, 0].astype(np.int64), rows.fresh[counter])

    def vacate(self, slots: Int64) -> None:
        """Stored rows say that no device lives there."""
        self._reserve(int(slots.max(initial=-1)) + 1)
        for slot in slots.tolist():
            self.names[slot] = None
        self.recency.order[slots] = NEVER

    def finish(self, log: DeviceLog | None = None) -> DeviceTable:
        """Ready for records, after all stored rows; changes go on with `log`. Raises ValueError when a device is there
        twice."""
        living = {device: slot for slot, device in enumerate(self.names) if device is not None}
        self._free = [slot for slot, device in enumerate(self.names) if device is None]
        if len(living) + len(self._free) < len(self.names):
            raise ValueError("a device is there twice")
        self._slots = living
        self.recency.take_over(self.recency.seen, self.recency.order)
        seen = self.recency.seen[self.recency.order != NEVER]
        self.clock = int(seen.max()) if len(seen) else BEGINNING
        self._settle(np.arange(len(self.names)))
        self._log, self.needs_rebase = log or self._log, log is None
        return self

    def handed_over(self, layout: Layout, kept: Mapping[str, Float64], rings: Mapping[str, Float64], giver: Giver) -> DeviceTable:
        """The same devices in the same slots of another layout. This one is used up.

        Rows are taken over from `giver` when they are needed; `kept` has the columns and rings of the kept parts, `rings` those that
        stay as they are.
        """
        other = DeviceTable(layout, self.retention, len(self._unwritten))
        other.names, other._slots, other._free, other._freed = self.names, self._slots, self._free, self._freed
        other.clock, other.recency = self.clock, self.recency
        other.kept |= kept
        other.rings |= rings
        other._giver = giver
        other._waiting[list(self._slots.values())] = True
        if not (self.needs_rebase or self._log.moving):
            other._left, other._log, other.needs_rebase = self.changes(), self._log.moved(layout), False
            other._left["layout"] = other._log.head()
        return other

    def _reserve(self, size: int) -> None:
        self._grow(size)
        self.names += [None] * (size - len(self.names))

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


def _cells(array: Float64, slots: Int64, counts: Float64, fresh: Int64, depth: int) -> Float64:
    """The newest readings in a ring of each slot, oldest first."""
    many = np.minimum(fresh, depth)
    numbers = _numbers(counts[:, 0].astype(np.int64), many)
    cells: Float64 = array[np.repeat(slots, many), numbers % depth]
    return cells


def _fill(array: Float64, slots: Int64, cells: Float64, counts: Int64, fresh: Int64) -> None:
    """Put the newest readings of each row where they belong; the first of all fills the cells not reached."""
    depth = array.shape[1]
    many = np.minimum(fresh, depth)
    new = np.flatnonzero((fresh == counts) & (many > 0))
    array[slots[new]] = cells[(np.cumsum(many) - many)[new], None]
    array[np.repeat(slots, many), _numbers(counts, many) % depth] = cells


def _empty(layout: Layout, capacity: int) -> dict[str, Float64]:
    """Columns and rings of the kept parts, of nobody."""
    kept = Layout(layout.kept)
    sizes = {name: (width,) for name, width in kept.columns.items()} | {name: tuple(size) for name, (_, *size) in kept.rings.items()}
    return {name: np.zeros((capacity, *size)) for name, size in sizes.items()}


def _numbers(counts: Int64, many: Int64) -> Int64:
    """Of rows with `counts` readings the numbers of the last `many`, one after the other."""
    ends = np.cumsum(many)
    numbers: Int64 = np.repeat(counts - ends, many) + np.arange(ends[-1] if len(ends) else 0)
    return numbers


def _padded(array: Any, capacity: int) -> Any:
    grown = np.zeros((capacity, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
