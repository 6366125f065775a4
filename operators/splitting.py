"""Columnar messages, split by reading: each part is a message of the same schema with some of the readings."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from swapstream.models.paths import path, setter
from swapstream.models.schema import Schema
from swapstream.operators.frame import Int64

Column = Callable[[Int64], Any]
"""The rows that are wanted, of a column as a message holds it, as it would hold them."""


class CantSplit(Exception):
    """A message that can't be divided: reason and detail of its dead letter."""


def split(payload: bytes, schema: Schema, devices: Sequence[str], where: Sequence[int]) -> list[bytes]:
    """One message for each different number in `where`, which has one a reading, in the order of their first readings.

    Readings stay in order, numbers stay bytes or arrays, and whatever is not the schema's is in every part. Raises CantSplit.
    """
    codec: Any = msgspec.json if schema.codec == "json" else msgspec.msgpack
    content = codec.decode(payload)
    columns = [(keys, column(at(content, keys), len(devices), ".".join(keys))) for keys in places(schema, content)]
    numbers, parts = np.array(where), []
    for number in dict.fromkeys(where):
        rows, part = np.flatnonzero(numbers == number), codec.decode(payload)
        setter(path(schema.device))(part, [devices[row] for row in rows.tolist()])
        for keys, some in columns:
            setter(keys)(part, some(rows))
        parts.append(codec.encode(part))
    return parts


def places(schema: Schema, content: Any) -> Iterator[tuple[str, ...]]:
    """Where a message holds something for each reading, but for their devices."""
    yield path(schema.time)
    values = path(schema.values)
    if schema.named or isinstance(at(content, values), dict):
        yield from (values + keys for keys in schema.field_paths)
    else:
        yield values


def at(content: Any, keys: tuple[str, ...]) -> Any:
    """What lies at a path. Raises CantSplit."""
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise CantSplit("invalid", f"no {'.'.join(keys)}, by which the message could be split")
        content = content[key]
    return content


def column(content: Any, n: int, what: str) -> Column:
    """Of n readings: bytes, text of bytes, an array with as many entries, or with several for each. Raises CantSplit."""
    if isinstance(content, str):
        try:
            some = column(binascii.a2b_base64(content), n, what)
        except binascii.Error as error:
            raise CantSplit("invalid", f"{what}: {error}") from error
        return lambda rows: binascii.b2a_base64(some(rows), newline=False).decode()
    if not isinstance(content, bytes | list) or not content or len(content) % n:
        size = len(content) if isinstance(content, bytes | list) else type(content).__name__
        raise CantSplit("invalid", f"{what}: {size} for {n} devices")
    width = len(content) // n
    if isinstance(content, bytes):
        table = np.frombuffer(content, np.uint8).reshape(n, width)
        return lambda rows: table[rows].tobytes()
    if width == 1:
        return lambda rows: [content[row] for row in rows.tolist()]
    return lambda rows: [entry for row in rows.tolist() for entry in content[width * row : width * (row + 1)]]
