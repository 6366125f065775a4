"""What a telemetry message looks like: its codec, the keys of device, time and values, and the names of the fields.

A schema is itself a definition on `parameters`: it travels as deterministic msgpack and is known by its digest.

>>> schema = Schema("engine", (Field("temperature"), Field("pressure")))
>>> Schema.decode(schema.encode()) == schema
True
>>> msgspec.msgpack.decode(encoder(schema)("e-1", 1_700_000_000_000, (20.5, 1.0)))
{'device': 'e-1', 'time': 1700000000000, 'values': [20.5, 1.0]}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from swapstream.models.errors import InvalidSchema

VERSION = 1
MAX_FIELDS = 4096

# Microseconds = ticks * numerator // denominator.
UNITS: dict[str, tuple[int, int]] = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}

Encode = Callable[[str, int, Sequence[float]], bytes]

_NAME = re.compile(r"\w[\w.:/-]{0,99}")


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number of a reading. A `private` field is scored, but never archived with the features."""

    name: str
    private: bool = False


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`device`, `time` and `values` are the keys of a message; time is a number of `time_unit` since 1970.

    `positional`: `values` holds an array with one number a field. `named`: `values` holds a map from field name to
    number, or, with values "", the fields lie beside device and time. Other keys in a message are ignored.
    Raises InvalidSchema.
    """

    name: str
    fields: tuple[Field, ...]
    codec: Literal["json", "msgpack"] = "msgpack"
    device: str = "device"
    time: str = "time"
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    layout: Literal["named", "positional"] = "positional"
    values: str = "values"

    def __post_init__(self) -> None:
        _check_name(self.name, "schema name")
        _check_fields(self.name, self.names)
        _check_keys(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names in the order of the values."""
        return tuple(field.name for field in self.fields)

    @property
    def digest(self) -> str:
        """sha256 of the encoded schema, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """Equal schemas give equal bytes."""
        return msgspec.msgpack.encode({"v": VERSION, **msgspec.to_builtins(self)})

    @classmethod
    def decode(cls, data: bytes) -> Schema:
        """The schema that `encode` gave. Raises InvalidSchema."""
        try:
            content = msgspec.msgpack.decode(data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidSchema(f"not an encoded schema: {error}") from error
        version = content.pop("v", None)
        if version != VERSION:
            raise InvalidSchema(f"schema format v={version!r}; this release reads v={VERSION}")
        return _convert(content, "encoded schema")

    @classmethod
    def from_columns(cls, name: str, columns: Iterable[str]) -> Schema:
        """A schema with one field for each column, and the defaults for everything else."""
        return cls(name, tuple(Field(column) for column in columns))


def load_schema(path: Path | str) -> Schema:
    """Read a YAML file: the keys of Schema, where a field may be just its name; `name` is by default the file's."""
    path = Path(path)
    try:
        content = msgspec.yaml.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSchema(f"schema {path}: {error}") from error
    fields = content.get("fields")
    if isinstance(fields, list):
        content["fields"] = [{"name": field} if isinstance(field, str) else field for field in fields]
    return _convert({"name": path.stem, **content}, f"schema {path}")


def encoder(schema: Schema) -> Encode:
    """A function (device, time in the schema's unit, values in the fields' order) -> message."""
    dump = msgspec.json.encode if schema.codec == "json" else msgspec.msgpack.encode
    device_key, time_key, values_key, names = schema.device, schema.time, schema.values, schema.names

    def positional(device: str, time: int, values: Sequence[float]) -> bytes:
        return dump({device_key: device, time_key: time, values_key: values})

    def nested(device: str, time: int, values: Sequence[float]) -> bytes:
        return dump({device_key: device, time_key: time, values_key: dict(zip(names, values, strict=True))})

    def flat(device: str, time: int, values: Sequence[float]) -> bytes:
        return dump({device_key: device, time_key: time, **dict(zip(names, values, strict=True))})

    if schema.layout == "positional":
        return positional
    return nested if schema.values else flat


def ticks(schema: Schema, micros: NDArray[np.int64]) -> NDArray[np.int64]:
    """Event times in microseconds as the schema's unit, rounded down."""
    numerator, denominator = UNITS[schema.time_unit]
    return micros * denominator // numerator


def tick(schema: Schema) -> int:
    """Microseconds of the schema's unit, at least one: what messages round event times down to."""
    numerator, denominator = UNITS[schema.time_unit]
    return max(1, numerator // denominator)


def _convert(content: dict[str, Any], what: str) -> Schema:
    try:
        return msgspec.convert(content, Schema)
    except msgspec.ValidationError as error:
        raise InvalidSchema(f"{what}: {error}") from error
    except InvalidSchema as error:
        raise InvalidSchema(f"{what}: {error}") from error


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidSchema(f"{what} {name!r}: 1 to 100 letters, digits or _ . : / -, the first a letter, digit or _")


def _check_fields(name: str, names: tuple[str, ...]) -> None:
    if not 1 <= len(names) <= MAX_FIELDS:
        raise InvalidSchema(f"schema {name}: {len(names)} fields; 1 to {MAX_FIELDS} are allowed")
    for field in names:
        _check_name(field, f"schema {name}: field")
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise InvalidSchema(f"schema {name}: field {twice[0]!r} occurs more than once")


def _check_keys(schema: Schema) -> None:
    if schema.layout == "positional" and not schema.values:
        raise InvalidSchema(f"schema {schema.name}: values '' is for layout named; positional values need a key")
    flat = schema.names if not schema.values else (schema.values,)
    keys = (schema.device, schema.time, *flat)
    if not schema.device or not schema.time or len(set(keys)) != len(keys):
        raise InvalidSchema(f"schema {schema.name}: the keys device={schema.device!r}, time={schema.time!r} and "
                            f"{'the fields' if not schema.values else f'values={schema.values!r}'} must be different "
                            "and not empty")
