"""Recency: which rows of a device table were seen longest ago, exact to the record."""

from __future__ import annotations

import numpy as np

from swapstream.operators.frame import Int64

NEVER = np.iinfo(np.int64).max
LEAST = 1_024


class Recency:
    """When each slot was last seen, by log clock and by the number of its last record.

    `seen` [capacity] is the log clock in ms at the slot's last record, `order` [capacity] the number of that record in
    the table's history, NEVER where no device lives. Both grow together: a larger order never has a smaller `seen`.
    Finding the oldest sorts an eighth of the table once in a while and then only looks whether what it found was seen
    since, so that its cost a frame does not grow with the table.
    """

    def __init__(self, capacity: int) -> None:
        self.seen: Int64 = np.zeros(capacity, np.int64)
        self.order: Int64 = np.full(capacity, NEVER)
        self._next = 0
        self._floor: int | None = None
        self._slots: Int64 = np.empty(0, np.int64)
        self._orders: Int64 = np.empty(0, np.int64)
        self._at = 0

    def grow(self, capacity: int) -> None:
        more = capacity - len(self.seen)
        self.seen = np.concatenate((self.seen, np.zeros(more, np.int64)))
        self.order = np.concatenate((self.order, np.full(more, NEVER)))

    def touch(self, slots: Int64, clock: Int64) -> None:
        """Records of these slots came, in this order; `clock` [n] never falls."""
        self.seen[slots] = clock  # of a slot that is there twice numpy keeps the last
        self.order[slots] = np.arange(self._next, self._next + len(slots))
        self._next += len(slots)

    def forget(self, slots: Int64) -> None:
        """No device lives there any more."""
        self.order[slots] = NEVER

    def take_over(self, seen: Int64, order: Int64) -> None:
        """Start from columns that were stored."""
        self.seen, self.order = seen, order
        living = order[order != NEVER]
        self._next, self._floor = int(living.max(initial=-1)) + 1, None
        self._slots, self._orders, self._at = np.empty(0, np.int64), np.empty(0, np.int64), 0

    def oldest(self, count: int) -> Int64:
        """The slots seen longest ago, oldest first; fewer than `count` when no more live."""
        found = self._valid(count)
        if len(found) < count:
            self._sort(count)
            found = self._valid(count)
        return found

    def before(self, limit: int) -> Int64:
        """The slots whose `seen` is below `limit`, oldest first, to be forgotten by the caller. No record that comes later may
        be below it."""
        if self._floor is not None and limit <= self._floor:
            return np.empty(0, np.int64)
        count = 64
        while True:
            found = self.oldest(count)
            old = found[self.seen[found] < limit]
            if len(old) < len(found) or len(found) < count:
                # Seen only grows, so nothing lies below this before the limit has passed it.
                self._floor = int(self.seen[found[len(old)]]) if len(old) < len(found) else limit
                return old
            count *= 4

    def _valid(self, count: int) -> Int64:
        """Up to `count` of what was sorted and not seen since; what was seen at the front is passed over for ever."""
        size = count
        while True:
            part = slice(self._at, self._at + size)
            slots = self._slots[part]
            places = np.flatnonzero(self.order[slots] == self._orders[part])
            if len(places) >= count or self._at + size >= len(self._slots):
                break
            size *= 2
        self._at += int(places[0]) if len(places) else len(slots)
        found: Int64 = slots[places[:count]]
        return found

    def _sort(self, count: int) -> None:
        living = np.flatnonzero(self.order != NEVER)
        size = max(4 * count, len(living) // 8, LEAST)
        orders = self.order[living]
        if size < len(living):
            living = living[np.argpartition(orders, size)[:size]]
            orders = self.order[living]
        by_age = np.argsort(orders)
        self._slots, self._orders, self._at = living[by_age], orders[by_age], 0
