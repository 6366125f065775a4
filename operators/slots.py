"""Slots: which device lives in which row of a table, decided record by record, the same for every cutting into frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from swapstream.operators.frame import Int64
from swapstream.operators.recency import NEVER, Recency
from swapstream.operators.retention import Retention

BEGINNING = np.iinfo(np.int64).min


class Slots:
    """Devices, the slots that they live in, and when each was last seen; bounded by a retention. What stands in a slot subclasses know.

    - names: device of each slot, None where none lives. Slots of the forgotten are used again, so which slot a device
      has depends on frames; nothing else does.
    - clock: log time, the running maximum of all records' log timestamps, in ms.
    """

    def __init__(self, retention: Retention, capacity: int) -> None:
        self.retention = retention
        self.names: list[str | None] = []
        self.recency = Recency(capacity)
        self.clock = BEGINNING
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._freed: list[int] = []

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

    # -- what subclasses do

    def _widen(self, capacity: int) -> None:
        """Have room for so many slots."""

    def _came(self, slots: list[int]) -> None:
        """Devices that are new live there."""

    def _went(self, slots: Int64) -> None:
        """The devices that lived there are forgotten."""

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
        return slots

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
        """Give each device a slot of its own; returns the last one."""
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
        self._came(slots)
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
        self._went(slots)

    def _release(self) -> None:
        """What was freed may be used again."""
        self._free += self._freed
        self._freed = []

    def _grow(self, size: int) -> None:
        """Double the capacity until `size` rows fit."""
        capacity = len(self.recency.seen)
        if size <= capacity:
            return
        while capacity < size:
            capacity *= 2
        self.recency.grow(capacity)
        self._widen(capacity)

    def _by_age(self) -> Int64:
        """Slots of the devices that are remembered at this clock, the one seen longest ago first."""
        seen, order = self.recency.seen, self.recency.order
        living = np.flatnonzero((order != NEVER) & (seen >= self.clock - self.retention.evict_after))
        return living[np.argsort(order[living])]

    # -- what is stored

    def vacate(self, slots: Int64) -> None:
        """Stored rows say that no device lives there."""
        self._reserve(int(slots.max(initial=-1)) + 1)
        for slot in slots.tolist():
            self.names[slot] = None
        self.recency.order[slots] = NEVER

    def _reserve(self, size: int) -> None:
        self._grow(size)
        self.names += [None] * (size - len(self.names))

    def _finish(self) -> None:
        """Ready for records, after all that is stored. Raises ValueError when a device is there twice."""
        living = {device: slot for slot, device in enumerate(self.names) if device is not None}
        self._free = [slot for slot, device in enumerate(self.names) if device is None]
        if len(living) + len(self._free) < len(self.names):
            raise ValueError("a device is there twice")
        self._slots = living
        self.recency.take_over(self.recency.seen, self.recency.order)
        seen = self.recency.seen[self.recency.order != NEVER]
        self.clock = int(seen.max()) if len(seen) else BEGINNING

    def _succeed(self, other: Slots) -> None:
        """The same devices in the same slots; the other is used up."""
        self.names, self._slots, self._free, self._freed = other.names, other._slots, other._free, other._freed
        self.clock, self.recency = other.clock, other.recency
