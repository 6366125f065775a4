"""What a schema must keep to; each refusal is one line that names the thing, its value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from swapstream.models.durations import milliseconds
from swapstream.models.errors import InvalidSchema
from swapstream.models.paths import path

if TYPE_CHECKING:
    from swapstream.models.schema import Schema

MAX_FIELDS = 4096
MAX_DEPTH = 16
MAX_AHEAD = "366d"

FIRST_KEYS = ("name", "fields", "codec", "device", "time", "time_unit", "layout", "values")
"""What version 1 knew, in its order."""

_NAME = re.compile(r"\w[\w.:/-]{0,99}")


def check(schema: Schema) -> None:
    """Raises InvalidSchema for the first rule that is broken."""
    check_name(schema.name, "schema name")
    _check_fields(schema.name, schema.names)
    _check_layout(schema)
    _check_type(schema)
    _check_durations(schema)
    _check_keys(schema)


def check_name(name: str, what: str) -> None:
    """Names of schemas and fields."""
    if not _NAME.fullmatch(name):
        raise InvalidSchema(f"{what} {name!r}: 1 to 100 letters, digits or _ . : / -, the first a letter, digit or _")


def later_than_first(schema: Schema) -> str:
    """A setting that version 1 did not know, "" when there is none."""
    for setting, default in (("type_key", ""), ("type", ""), ("max_ahead", MAX_AHEAD), ("max_behind", "")):
        if getattr(schema, setting) != default:
            return setting
    if any(field.path for field in schema.fields):
        return "path"
    if schema.layout == "columnar":
        return "layout columnar"
    return next((key for key in ("device", "time", "values") if not isinstance(getattr(schema, key), str)), "")


def _check_fields(name: str, names: tuple[str, ...]) -> None:
    if not 1 <= len(names) <= MAX_FIELDS:
        raise InvalidSchema(f"schema {name}: {len(names)} fields; 1 to {MAX_FIELDS} are allowed")
    for field in names:
        check_name(field, f"schema {name}: field")
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise InvalidSchema(f"schema {name}: field {twice[0]!r} occurs more than once")


def _check_layout(schema: Schema) -> None:
    if schema.layout == "positional" and not schema.values:
        raise InvalidSchema(
            f"schema {schema.name}: values '' is for layouts named and columnar; positional values need a key"
        )
    placed = next((field for field in schema.fields if field.path), None)
    if schema.layout == "positional" and placed:
        raise InvalidSchema(
            f"schema {schema.name}: field {placed.name!r} has a path; positional fields are found by their place, "
            "layouts named and columnar by path"
        )


def _check_type(schema: Schema) -> None:
    if bool(schema.type) != bool(schema.type_key):
        raise InvalidSchema(
            f"schema {schema.name}: type_key={schema.type_key!r} and type={schema.type!r} go together: a key, and the "
            "text that it holds"
        )


def _check_durations(schema: Schema) -> None:
    for setting in ("max_ahead", "max_behind"):
        try:
            if getattr(schema, setting) or setting == "max_ahead":
                milliseconds(getattr(schema, setting))
        except ValueError as error:
            raise InvalidSchema(f"schema {schema.name}: {setting} {error}") from error


def _check_keys(schema: Schema) -> None:
    """No two things lie at one place, and none inside another."""
    places = sorted(_places(schema), key=lambda place: place[1])
    for what, keys in places:
        if not 0 < len(keys) <= MAX_DEPTH or not all(keys):
            raise InvalidSchema(f"schema {schema.name}: {what} is at {_text(keys)}; keys must not be empty, and at most "
                                f"{MAX_DEPTH} on a path")
    # Sorted, whatever begins like a path comes right behind it.
    for (one, keys), (other, longer) in pairwise(places):
        if longer[: len(keys)] == keys:
            raise InvalidSchema(
                f"schema {schema.name}: {one} is at {_text(keys)} and {other} at {_text(longer)}; these must be different "
                "places, none inside the other"
            )


def _places(schema: Schema) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "device", path(schema.device)
    yield "time", path(schema.time)
    if schema.type_key:
        yield "type_key", (schema.type_key,)
    if not schema.named:
        yield "values", path(schema.values)
        return
    for field, keys in zip(schema.fields, schema.field_paths, strict=True):
        yield f"field {field.name!r}", path(schema.values) + keys


def _text(keys: tuple[str, ...]) -> str:
    return repr("".join(keys)) if len(keys) < 2 else "[" + ", ".join(key or "''" for key in keys) + "]"
