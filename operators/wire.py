"""Reading msgpack that anybody may have written: what can't be read becomes one error of ours, whatever the bytes hold."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from swapstream.models.errors import InvalidDefinition

Decoded = TypeVar("Decoded")


def read(data: bytes, kind: type[Decoded], error: type[InvalidDefinition], what: str) -> Decoded:
    """`data` as a `kind`. Raises `error` for text that is not UTF-8, deep nesting and headers that promise too much as well."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError) as reason:
        raise error(f"not {what}: {reason or type(reason).__name__}") from reason


def check_version(found: int, newest: int, error: type[InvalidDefinition], what: str) -> None:
    """Raises `error` for bytes that a later release wrote, or none: all versions from 1 to `newest` are read."""
    if not 1 <= found <= newest:
        known = "version 1" if newest == 1 else f"versions 1 to {newest}"
        raise error(f"{what} of version {found}: this release reads {known}")
