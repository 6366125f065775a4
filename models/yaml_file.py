"""YAML files that a person writes: whatever is wrong with one is a line that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from swapstream.models.errors import InvalidDefinition, UnknownName


def read_mapping(path: str | Path, what: str, error: type[InvalidDefinition]) -> dict[str, Any]:
    """The names and values in a YAML file. Raises UnknownName when there is no such file, `error` when it can't be read.

    `what` it is goes before the file's name in the message.
    """
    try:
        content = msgspec.yaml.decode(Path(path).read_bytes())
    except FileNotFoundError as reason:
        raise UnknownName(f"{what} {str(path)!r}: no such file") from reason
    except OSError as reason:
        raise error(f"{what} {path}: {(reason.strerror or str(reason)).lower()}") from reason
    except (msgspec.DecodeError, ValueError, RecursionError) as reason:
        raise error(f"{what} {path} is not YAML: {_complaint(reason)}") from reason
    if content is None:
        raise error(f"{what} {path}: the file is empty")
    if not isinstance(content, dict):
        raise error(f"{what} {path} holds {_kind(content)}; it must hold names and values, as in `name: value`")
    return content


def _complaint(error: Exception) -> str:
    """The parser's words, with the line where it stands."""
    reason = error.__cause__ or error.__context__
    mark = getattr(reason, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(reason, 'problem', '')}"
    return " ".join(str(error).split()) or type(error).__name__


def _kind(content: object) -> str:
    return "a list" if isinstance(content, list) else f"one value ({str(content)[:40]!r})"
