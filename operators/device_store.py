"""Device tables from what was stored: the entries and snapshots of this release, and what version 1 wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.carrying import carry
from swapstream.operators.device_log import VERSION, DeviceLog, StoredLayout
from swapstream.operators.device_rows import DeviceRows, Snapshot, StoredRows, array_of, decode, floats, load
from swapstream.operators.devices import DeviceTable
from swapstream.operators.frame import Bool, Int64
from swapstream.operators.layout import Layout
from swapstream.operators.retention import DEFAULT_RETENTION, Retention
from swapstream.operators.wire import check_version

BASE = "base"
"""Key of a snapshot among entries; journals of version 1 that follow it have the other keys, in the order of time."""

MAX_SLOTS = 65_536
"""Of a block: far more than any has, few enough that damaged bytes don't claim all memory."""


class SnapshotV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="devices", tag_field="kind"):
    """A whole table of version 1: `seen` and `columns` hold one row a device, in the order of `devices`."""

    layout: Layout
    devices: list[str]
    seen: bytes
    columns: dict[str, bytes]
    v: Literal[1] = 1


class JournalV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="journal", tag_field="kind"):
    """Changed rows of version 1: `slots` (ascending int64) of a table that had `base` devices before `devices`."""

    layout: bytes
    base: int
    devices: list[str]
    slots: bytes
    seen: bytes
    columns: dict[str, bytes]
    v: Literal[1] = 1


def read_table(entries: Mapping[str, bytes], retention: Retention = DEFAULT_RETENTION) -> DeviceTable:
    """The table that was written, under the layout it was written with: from all entries that `DeviceTable` gave, from a
    snapshot under the key `base`, or from that with journals of version 1. Raises InvalidDefinition for other bytes."""
    try:
        if BASE not in entries:
            return _from_entries(entries, retention)
        base = decode(entries[BASE], Snapshot | SnapshotV1)  # type: ignore[arg-type]
        if isinstance(base, Snapshot):
            return _from_snapshot(base, retention)
        return _from_v1(base, [decode(entries[key], JournalV1) for key in sorted(entries.keys() - {BASE})], retention)
    except ValueError as error:
        raise InvalidDefinition(f"device state contradicts itself: {error}") from error


def _from_entries(entries: Mapping[str, bytes], retention: Retention) -> DeviceTable:
    if "layout" not in entries:
        raise InvalidDefinition(
            f"device state has no layout; its entries are {', '.join(sorted(entries)[:5]) or 'none'}"
        )
    head = decode(entries["layout"], StoredLayout)
    check_version(head.v, VERSION, InvalidDefinition, "layout of device state")
    journals = [decode(entries[key], StoredRows) for key in sorted(entries) if key.startswith("journal/")]
    if head.before is None:
        stored = Stored(head, _blocks(entries, head), journals)
        table = DeviceTable(head.layout, retention)
        return table.finish(stored.log(stored.replay(table)))
    return _from_two(entries, head, head.before, journals, retention)


def _from_two(
    entries: Mapping[str, bytes], head: StoredLayout, before: StoredLayout, journals: list[StoredRows], retention: Retention
) -> DeviceTable:
    """A table that was moving from one layout to another: what is there of the old one, handed on, and then what is of the new."""
    digest = before.layout.digest
    cut = next((place for place, journal in enumerate(journals) if journal.layout != digest), len(journals))
    old = Stored(before, _blocks(entries, before), journals[:cut])
    table = DeviceTable(before.layout, retention)
    old.replay(table)
    table = carry(table.finish(), head.layout.parts)
    if table.layout != head.layout:
        raise InvalidDefinition("device state is of two layouts, and one does not follow from the other")
    new = Stored(head, _blocks(entries, head), journals[cut:], before=old)
    for number in range(len(new.blocks)):
        table.vacate(np.arange(number * head.slots, min((number + 1) * head.slots, len(table.names))))
    log = new.log(new.replay(table))
    log.leave(before, len(old.blocks), len(new.blocks))
    return table.finish(log)


def _blocks(entries: Mapping[str, bytes], head: StoredLayout) -> list[StoredRows]:
    if not 1 <= head.slots <= MAX_SLOTS:
        raise InvalidDefinition(f"device state has blocks of {head.slots} slots, allowed is 1 to {MAX_SLOTS}")
    return [decode(entries[key], StoredRows) for key in sorted(entries) if key.startswith(f"{head.blocks}/")]


class Stored:
    """Blocks and journals of one layout. `before`: those of the layout before, which hold what is not in these blocks."""

    def __init__(
        self, head: StoredLayout, blocks: list[StoredRows], journals: list[StoredRows], before: Stored | None = None
    ) -> None:
        self.head, self.blocks, self.journals = head, blocks, journals
        # The last slots that were covered may all have been free.
        self._before = len(before.blocks) * before.head.slots if before else 0
        self.numbers: list[int] = [*(before.numbers if before else ()), *(journal.number for journal in journals)]
        newest = 1 + max((block.number for block in (*blocks, *(before.blocks if before else ()))), default=0)
        self.first = self.numbers[0] if self.numbers else newest
        if self.numbers != list(range(self.first, self.first + len(self.numbers))):
            raise InvalidDefinition(f"device journals are numbered {self.numbers[0]} to {self.numbers[-1]}, and one is missing")

    def log(self, contained: list[int]) -> DeviceLog:
        """To go on with these entries."""
        if self.numbers and min(contained, default=self.first - 1) < self.first - 1:
            raise InvalidDefinition(f"device journals begin at {self.first}, a block needs those from {min(contained) + 1} on")
        log = DeviceLog(self.head.layout, self.head.slots, self.head.blocks)
        log.resume(contained, self.first - 1, self.numbers[-1] if self.numbers else self.first - 1)
        return log

    def replay(self, table: DeviceTable) -> list[int]:
        """Put the rows into a table; returns for each block the last journal that it contains."""
        layout, digest, slots = self.head.layout, self.head.layout.digest, self.head.slots
        contained: list[int] = []
        for number, block in enumerate(self.blocks):
            rows, _ = load(block, layout, digest)
            _check(rows.slots, number * slots, (number + 1) * slots)
            table.restore(rows)
            contained.append(block.number)
        for journal in self.journals:
            rows, removed = load(journal, layout, digest, whole=False)
            size = max(len(table.names), len(contained) * slots)
            _check(np.union1d(rows.slots, removed), 0, max(size, self._before) + int(rows.renewed.sum()) + len(removed))
            covered = -(-max(size, 1 + int(max(rows.slots.max(initial=-1), removed.max(initial=-1)))) // slots)
            contained += [journal.number - 1] * (covered - len(contained))
            newer = np.array(contained, np.int64) < journal.number
            table.restore(rows.only(newer[rows.slots // slots], layout))
            table.vacate(removed[newer[removed // slots]])
        return contained


def _from_snapshot(snapshot: Snapshot, retention: Retention) -> DeviceTable:
    check_version(snapshot.v, VERSION, InvalidDefinition, "snapshot of devices")
    rows, _ = load(snapshot.rows, snapshot.layout, snapshot.layout.digest)
    if not (len(snapshot.rows.devices) == len(rows.slots) == int(rows.slots.max(initial=-1)) + 1):
        raise InvalidDefinition(f"device snapshot of {len(rows.slots)} rows names {len(snapshot.rows.devices)} devices")
    table = DeviceTable(snapshot.layout, retention, max(64, len(rows.slots)))
    table.restore(rows)
    return table.finish()


def _from_v1(base: SnapshotV1, journals: list[JournalV1], retention: Retention) -> DeviceTable:
    n, digest = len(base.devices), base.layout.digest
    table = DeviceTable(base.layout, retention, max(64, n))
    table.restore(_rows_v1(base, base.layout, np.arange(n), np.ones(n, bool)))
    for journal in journals:
        size = len(table.names)
        if journal.layout != digest:
            raise InvalidDefinition("device journal is of another layout than the table it is applied to")
        if journal.base != size:
            raise InvalidDefinition(f"device journal follows {journal.base} devices, there are {size}: one is missing")
        slots = array_of(journal.slots, np.dtype("<i8"), "slots")
        _check(slots, 0, size + len(journal.devices))
        table.restore(_rows_v1(journal, base.layout, slots, slots >= size))
    seen = table.recency.seen[: len(table.names)]
    table.recency.order[np.argsort(seen, kind="stable")] = np.arange(len(seen))
    return table.finish()


def _rows_v1(read: SnapshotV1 | JournalV1, layout: Layout, slots: Int64, renewed: Bool) -> DeviceRows:
    n = len(slots)
    if renewed.sum() != len(read.devices):
        raise InvalidDefinition(f"device state names {len(read.devices)} devices for {renewed.sum()} rows")
    seen = array_of(read.seen, np.dtype("<i8"), "seen", n)
    columns = floats(read.columns, {name: (n, width) for name, width in layout.columns.items()})
    return DeviceRows(slots, renewed, read.devices, np.zeros(n, np.int64), seen, columns, {}, {})


def _check(slots: Int64, first: int, end: int) -> None:
    if len(slots) and (slots[0] < first or slots[-1] >= end or (np.diff(slots) <= 0).any()):
        raise InvalidDefinition(f"device state has slots out of order or outside {first} to {end - 1}")
