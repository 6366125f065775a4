"""How a device table is stored: as blocks and journals, so that no frame writes more than about twice what it changed.

Entries: `layout`; `block/N`, all devices in a range of slots; `journal/N`, what changed between two calls. Every journal
is written as it comes, and beside it now and then a block, in turn: after a round of all blocks the journals from before
it are removed. So a table of a million devices is folded block by block and never written at once.

Where the layout changes, entries of the one before stay until all rows are written under the new one, some blocks with every
frame: meanwhile these lie under the other of the two names, `moved/N` or `block/N`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from swapstream.operators.device_rows import DeviceRows, store
from swapstream.operators.frame import Bool, Int64
from swapstream.operators.layout import Layout
from swapstream.operators.recency import NEVER

if TYPE_CHECKING:
    from swapstream.operators.devices import DeviceTable

BLOCK_BYTES = 1 << 18
LEAST_SLOTS = 16
LEAST_BYTES = 1 << 20
"""Journals of a table smaller than this are folded when they are as large as this."""
ID_BYTES = 16
MOVED_BYTES = 1 << 19
"""Of blocks written with a frame while a table moves to another layout: some milliseconds."""
BLOCKS = ("block", "moved")
OLDEST, VERSION = 2, 3


class StoredLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="layout", tag_field="kind"):
    """The layout of a stored table, how many slots a block covers, and what blocks are called.

    Since version 3, which is written where it is needed: `before` is the same of the layout that the table had, while entries of that
    are needed still; and a layout may have kept parts.
    """

    layout: Layout
    slots: int
    v: int = 0
    blocks: str = BLOCKS[0]
    before: StoredLayout | None = None

    @classmethod
    def of(cls, layout: Layout, slots: int, blocks: str = BLOCKS[0], before: StoredLayout | None = None) -> StoredLayout:
        newer = layout.kept or before or blocks != BLOCKS[0]
        return cls(layout, slots, VERSION if newer else OLDEST, blocks, before)


class DeviceLog:
    """Which entries there are: `blocks` holds for each block the number of the last journal that it contains."""

    def __init__(self, layout: Layout, slots: int | None = None, name: str = BLOCKS[0]) -> None:
        self.layout, self.digest, self.name = layout, layout.digest, name
        self.slots = slots or max(LEAST_SLOTS, BLOCK_BYTES // (layout.row_bytes + ID_BYTES))
        self.blocks: list[int] = []
        self.oldest = self.number = 0
        self._turn = 0
        self._owed = 0.0
        self._before: StoredLayout | None = None
        self._leaving = 0

    @property
    def moving(self) -> bool:
        """Whether some of the entries are of the layout before."""
        return self._before is not None

    def head(self) -> bytes:
        """The entry `layout`."""
        return msgspec.msgpack.encode(StoredLayout.of(self.layout, self.slots, self.name, self._before))

    def resume(self, blocks: list[int], oldest: int, number: int) -> None:
        """Go on with entries that are there: journals above `oldest` up to `number`."""
        self.blocks, self.oldest, self.number = blocks, oldest, number
        self._turn = blocks.index(min(blocks)) if blocks else 0

    def moved(self, layout: Layout) -> DeviceLog:
        """Go on under another layout, from entries that are all of this one."""
        log = DeviceLog(layout, name=BLOCKS[self.name == BLOCKS[0]])
        log.leave(StoredLayout.of(self.layout, self.slots, self.name), len(self.blocks))
        log.oldest, log.number = self.oldest, self.number
        return log

    def leave(self, before: StoredLayout, blocks: int, moved: int = 0) -> None:
        """So many blocks are there of the layout before, and the first `moved` of this one."""
        self._before, self._leaving, self._turn = before, blocks, moved

    def rebase(self, table: DeviceTable) -> dict[str, bytes | None]:
        """All entries of a table."""
        self.blocks, self.oldest, self.number, self._turn, self._owed = [], 0, 0, 0, 0.0
        self.name, self._before = BLOCKS[0], None
        self._cover(len(table.names), 0)
        entries: dict[str, bytes | None] = {"layout": self.head()}
        return entries | {self._block(block): self._encode_block(table, block) for block in range(len(self.blocks))}

    def write(self, table: DeviceTable, slots: Int64, renewed: Bool, written: Int64, entries: dict[str, bytes | None]) -> None:
        """Put the journal of these slots among the entries, a block when it is time for one, and the journals that need not be kept."""
        self._cover(len(table.names), self.number)
        self.number += 1
        living = table.recency.order[slots] != NEVER
        rows = table.new_rows(slots[living], renewed[living], written[living])
        entries[_journal(self.number)] = journal = self._encode(rows, slots[~living])
        if not self.moving:
            self._fold(table, len(journal), entries)

    def move(self, table: DeviceTable, entries: dict[str, bytes | None]) -> None:
        """A few more blocks of this layout, and after the last of them nothing of the one before."""
        if self._before is None:
            return
        self._cover(len(table.names), self.oldest)
        room = MOVED_BYTES
        while room > 0 and self._turn < len(self.blocks):
            room -= self._put(table, self._turn, entries)
            self._turn += 1
        if self._turn == len(self.blocks):
            entries |= {f"{self._before.blocks}/{block:06}": None for block in range(self._leaving)}
            self._before, self._turn, self._owed = None, 0, 0.0
            self._forget(entries)
            entries["layout"] = self.head()

    def _fold(self, table: DeviceTable, written: int, entries: dict[str, bytes | None]) -> None:
        """As many blocks, in turn, as are due after so many more bytes of journal."""
        size = len(table) * (self.layout.row_bytes + ID_BYTES)
        self._owed += written * size / max(LEAST_BYTES, size)
        while self._owed >= max(1, size / len(self.blocks)):
            self._owed -= max(self._put(table, self._turn, entries), size / len(self.blocks))
            self._turn = (self._turn + 1) % len(self.blocks)
            self._forget(entries)

    def _put(self, table: DeviceTable, block: int, entries: dict[str, bytes | None]) -> int:
        """Write a block; returns its size."""
        entries[self._block(block)] = encoded = self._encode_block(table, block)
        self.blocks[block] = self.number
        return len(encoded)

    def _forget(self, entries: dict[str, bytes | None]) -> None:
        """Journals that all blocks contain."""
        kept = min(self.blocks, default=self.number)
        for number in range(self.oldest + 1, kept + 1):
            key = _journal(number)
            if key in entries:
                del entries[key]  # contained in blocks before it was ever written
            else:
                entries[key] = None
        self.oldest = kept

    def _cover(self, slots: int, number: int) -> None:
        """Blocks for so many slots; nothing of the new ones is in journals up to `number`."""
        self.blocks += [number] * (-(-slots // self.slots) - len(self.blocks))

    def _encode_block(self, table: DeviceTable, block: int) -> bytes:
        first = block * self.slots
        living = np.flatnonzero(table.recency.order[first : min(first + self.slots, len(table.names))] != NEVER)
        return self._encode(table.rows(first + living), np.empty(0, np.int64))

    def _encode(self, rows: DeviceRows, removed: Int64) -> bytes:
        return msgspec.msgpack.encode(store(self.digest, self.number, rows, removed))

    def _block(self, number: int) -> str:
        return f"{self.name}/{number:06}"


def _journal(number: int) -> str:
    return f"journal/{number:012}"
