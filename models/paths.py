"""Where something lies in a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Key = str | tuple[str, ...]
"""A key, taken literally, or the keys of a path through nested maps."""


def path(key: Key) -> tuple[str, ...]:
    """A key as the keys of a path; "" is the message itself.

    >>> path("a.b"), path(("a", "b")), path("")
    (('a.b',), ('a', 'b'), ())
    """
    return (key,) if isinstance(key, str) and key else tuple(key)


def setter(keys: tuple[str, ...]) -> Callable[[dict[str, Any], Any], None]:
    """A function that puts a value at a path of a message, making the maps on the way."""
    *way, last = keys

    def put(message: dict[str, Any], value: Any) -> None:
        for key in way:
            message = message.setdefault(key, {})
        message[last] = value

    return put
