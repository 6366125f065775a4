"""How a device table is stored: as blocks and journals, so that no frame writes more than about twice what it changed.

Entries: `layout`; `block/N`, all devices in a range of slots; `journal/N`, what changed between two calls. Every journal
is written as it comes, and beside it now and then a block, in turn: after a round of all blocks the journals from before
it are removed. So a table of a million devices is folded block by block and never written at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from swapstream.operators.device_rows import DeviceRows, store
from swapstream.operators.frame import Bool, Int64
from swapstream.operators.layout import Layout
from swapstream.operators.recency import NEVER

if TYPE_CHECKING:
    from swapstream.operators.devices import DeviceTable

BLOCK_BYTES = 1 << 18
LEAST_BYTES = 1 << 20
"""Journals of a table smaller than this are folded when they are as large as this."""
ID_BYTES = 16


class StoredLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="layout", tag_field="kind"):
    """The layout of a stored table, and how many slots a block covers."""

    layout: Layout
    slots: int
    v: Literal[2] = 2


class DeviceLog:
    """Which entries there are: `blocks` holds for each block the number of the last journal that it contains."""

    def __init__(self, layout: Layout, slots: int | None = None) -> None:
        self.layout, self.digest = layout, layout.digest
        self.slots = slots or max(16, BLOCK_BYTES // (layout.row_bytes + ID_BYTES))
        self.blocks: list[int] = []
        self.oldest = self.number = 0
        self._turn = 0
        self._owed = 0.0

    def resume(self, blocks: list[int], oldest: int, number: int) -> None:
        """Go on with entries that are there: journals above `oldest` up to `number`."""
        self.blocks, self.oldest, self.number = blocks, oldest, number
        self._turn = blocks.index(min(blocks)) if blocks else 0

    def rebase(self, table: DeviceTable) -> dict[str, bytes | None]:
        """All entries of a table."""
        self.blocks, self.oldest, self.number, self._turn, self._owed = [], 0, 0, 0, 0.0
        self._cover(len(table.names), 0)
        entries: dict[str, bytes | None] = {"layout": msgspec.msgpack.encode(StoredLayout(self.layout, self.slots))}
        return entries | {_block(block): self._encode_block(table, block) for block in range(len(self.blocks))}

    def changes(self, table: DeviceTable, slots: Int64, renewed: Bool, written: Int64) -> dict[str, bytes | None]:
        """The journal of these slots, a block when it is time for one, and the journals that need not be kept."""
        self._cover(len(table.names), self.number)
        self.number += 1
        living = table.recency.order[slots] != NEVER
        rows = table.rows(slots[living], renewed[living], written[living])
        journal = self._encode(self.number, rows, slots[~living])
        entries: dict[str, bytes | None] = {_journal(self.number): journal}
        self._fold(table, len(journal), entries)
        return entries

    def _fold(self, table: DeviceTable, written: int, entries: dict[str, bytes | None]) -> None:
        """As many blocks, in turn, as are due after so many more bytes of journal."""
        size = len(table) * (self.layout.row_bytes + ID_BYTES)
        self._owed += written * size / max(LEAST_BYTES, size)
        while self._owed >= max(1, size / len(self.blocks)):
            entries[_block(self._turn)] = block = self._encode_block(table, self._turn)
            self._owed -= max(len(block), size / len(self.blocks))
            self.blocks[self._turn] = self.number
            self._turn = (self._turn + 1) % len(self.blocks)
            kept = min(self.blocks)
            entries |= {_journal(number): None for number in range(self.oldest + 1, min(kept, self.number - 1) + 1)}
            if kept == self.number:
                del entries[_journal(kept)]  # contained in blocks before it was ever written
            self.oldest = kept

    def _cover(self, slots: int, number: int) -> None:
        """Blocks for so many slots; nothing of the new ones is in journals up to `number`."""
        self.blocks += [number] * (-(-slots // self.slots) - len(self.blocks))

    def _encode_block(self, table: DeviceTable, block: int) -> bytes:
        first = block * self.slots
        living = np.flatnonzero(table.recency.order[first : min(first + self.slots, len(table.names))] != NEVER)
        return self._encode(self.number, table.rows(first + living), np.empty(0, np.int64))

    def _encode(self, number: int, rows: DeviceRows, removed: Int64) -> bytes:
        return msgspec.msgpack.encode(store(self.digest, number, rows, removed))


def _block(number: int) -> str:
    return f"block/{number:06}"


def _journal(number: int) -> str:
    return f"journal/{number:012}"
