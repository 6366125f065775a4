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
