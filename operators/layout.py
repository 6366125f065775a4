"""Layouts: which columns a device table has, and what gives them their meaning."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

Width = Annotated[int, Meta(ge=1, le=65_536)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """State of one extractor: columns (name → float64s a device) and what gives them their meaning.

    `key` is its prefix in the table, `settings` are canonical JSON with the fields, `version` that of its code. `rings`
    are columns that keep a device's last readings (name → how many, float64s each); a part that has some counts the
    readings so far in its column `count`: reading number i (from 0) stands in cell i modulo how many. Cells not reached
    yet hold reading 0.
    """

    key: str
    name: str
    version: int
    schema_version: int
    settings: str
    columns: dict[str, Width]
    rings: dict[str, tuple[Width, Width]] = {}

    def means(self, other: Part) -> bool:
        """Whether the other's columns mean the same, so that they can be taken over as they are."""
        return msgspec.structs.replace(other, key=self.key, version=self.version) == self


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All columns of a table. `kept` are parts of the plan before, as they stood at the cut: they are not changed any more, and
    found by a swap back."""

    parts: tuple[Part, ...]
    kept: tuple[Part, ...] = ()

    @property
    def whole(self) -> Layout:
        """With the kept parts among the others."""
        return Layout((*self.parts, *self.kept)) if self.kept else self

    @property
    def columns(self) -> dict[str, int]:
        """Column of the table → width."""
        return {f"{part.key}.{column}": width for part in self.parts for column, width in part.columns.items()}

    @property
    def rings(self) -> dict[str, tuple[str, int, int]]:
        """Ring of the table → the column that counts its readings, its depth and width."""
        return {
            f"{part.key}.{ring}": (f"{part.key}.count", depth, width)
            for part in self.parts
            for ring, (depth, width) in part.rings.items()
        }

    @property
    def digest(self) -> bytes:
        """Names a layout in what is written beside it."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).digest()[:16]

    @property
    def row_bytes(self) -> int:
        """Bytes of a device's row, kept parts included, but for its id."""
        whole = self.whole
        floats = sum(whole.columns.values()) + sum(depth * width for _, depth, width in whole.rings.values())
        return 8 * (floats + 2)
