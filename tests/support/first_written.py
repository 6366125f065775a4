"""Bytes as a release first wrote them: they are kept, and every later release has to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path


def write_missing(folder: Path, examples: Mapping[str, Callable[[], bytes]]) -> None:
    """`<name>.msgpack` for each example; what is there already is never written again."""
    folder.mkdir(exist_ok=True)
    for name, example in examples.items():
        path = folder / f"{name}.msgpack"
        if not path.exists():
            path.write_bytes(example())
