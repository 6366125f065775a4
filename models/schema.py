"""What a telemetry message looks like: its codec and layout, where device, time and values lie in it, and the fields.

A schema is itself a definition on `parameters`: it travels as deterministic msgpack and is known by its digest.

>>> schema = Schema("engine", (Field("temperature"), Field("pressure")))
>>> Schema.decode(schema.encode()) == schema
True
>>> msgspec.msgpack.decode(encoder(schema)("e-1", 1_700_000_000_000, (20.5, 1.0)))
{'device': 'e-1', 'time': 1700000000000, 'values': [20.5, 1.0]}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from swapstream.models import schema_rules
from swapstream.models.durations import milliseconds
from swapstream.models.errors import InvalidSchema
from swapstream.models.messages import encoder, frame_encoder, tick, ticks
from swapstream.models.paths import Key, path
from swapstream.models.yaml_file import read_mapping

__all__ = ["Field", "Key", "Schema", "encoder", "frame_encoder", "load_schema", "tick", "ticks"]

VERSION = 2


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number of a reading. A `private` field is scored, but never archived with the features.

    `path`: where it lies within `values`, for layouts that name fields; by default under its name.
    """

    name: str
    private: bool = False
    path: Key = ""


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`device`, `time` and `values` say where a message holds them; time is a number of `time_unit` since 1970.

    - positional: `values` holds an array with one number a field.
    - named: `values` holds a map from field name (or its path) to number; with values "" the message itself is that map.
    - columnar: a message holds n readings. `time` is n int64, `values` n rows of one number a field, or a map from field
      name to n numbers, as for `named`; `device` is one text for all readings, or an array of n. Numbers come as little-endian
      bytes (time int64, values float64 or float32, by length; in JSON as base64) or as arrays.
    - type_key, type: where several schemas share a topic, this one's messages are those whose top-level key `type_key` holds the
      text `type`.
    - max_ahead, max_behind: a reading whose event time lies further after, or before, the log time of its message is bad.

    Other keys in a message are ignored. Raises InvalidSchema.
    """

    name: str
    fields: tuple[Field, ...]
    codec: Literal["json", "msgpack"] = "msgpack"
    device: Key = "device"
    time: Key = "time"
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    layout: Literal["named", "positional", "columnar"] = "positional"
    values: Key = "values"
    type_key: str = ""
    type: str = ""
    max_ahead: str = schema_rules.MAX_AHEAD
    max_behind: str = ""

    def __post_init__(self) -> None:
        schema_rules.check(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names in the order of the values."""
        return tuple(field.name for field in self.fields)

    @property
    def named(self) -> bool:
        """Whether fields can only be found by name."""
        return self.layout == "named" or (self.layout == "columnar" and (not self.values or any(f.path for f in self.fields)))

    @property
    def field_paths(self) -> tuple[tuple[str, ...], ...]:
        """Where each field lies within `values`, by name."""
        return tuple(path(field.path or field.name) for field in self.fields)

    @property
    def ahead_ms(self) -> int:
        return milliseconds(self.max_ahead)

    @property
    def behind_ms(self) -> int | None:
        return milliseconds(self.max_behind) if self.max_behind else None

    @property
    def digest(self) -> str:
        """sha256 of the encoded schema, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """Equal schemas give equal bytes: those of version 1 where it has words for all of it, so that digests stay."""
        content = msgspec.to_builtins(self)
        later = schema_rules.later_than_first(self)
        if not later:
            content = {key: content[key] for key in schema_rules.FIRST_KEYS}
            content["fields"] = [{"name": field.name, "private": field.private} for field in self.fields]
        return msgspec.msgpack.encode({"v": VERSION if later else 1, **content})

    @classmethod
    def decode(cls, data: bytes) -> Schema:
        """The schema that `encode` gave, of any version. Raises InvalidSchema."""
        try:
            content = msgspec.msgpack.decode(data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidSchema(f"not an encoded schema: {error}") from error
        version = content.pop("v", None)
        if version not in (1, VERSION):
            raise InvalidSchema(f"schema format v={version!r}; this release reads v=1 to {VERSION}")
        found = _convert(content, "encoded schema")
        if version == 1 and (later := schema_rules.later_than_first(found)):
            raise InvalidSchema(f"encoded schema: {later} is not of version 1")
        return found

    @classmethod
    def from_columns(cls, name: str, columns: Iterable[str]) -> Schema:
        """A schema with one field for each column, and the defaults for everything else."""
        return cls(name, tuple(Field(column) for column in columns))


def load_schema(path: Path | str) -> Schema:
    """Read a YAML file: the keys of Schema, where a field may be just its name; `name` is by default the file's.

    Raises UnknownName when there is no such file, InvalidSchema.
    """
    content = read_mapping(path, "schema", InvalidSchema)
    fields = content.get("fields")
    if isinstance(fields, list):
        content["fields"] = [{"name": field} if isinstance(field, str) else field for field in fields]
    return _convert({"name": Path(path).stem, **content}, f"schema {path}")


def _convert(content: dict[str, Any], what: str) -> Schema:
    try:
        return msgspec.convert(content, Schema)
    except (msgspec.ValidationError, InvalidSchema) as error:
        raise InvalidSchema(f"{what}: {error}") from error
