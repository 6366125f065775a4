"""What one message decodes to: a struct type made for a schema, and where in it device, time and values are.

gc=False everywhere: a record holds no cycles, and the collector would cost up to half of the decoder's rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from swapstream.models.paths import path
from swapstream.models.schema import Schema

MAX_READINGS = 65_536
"""A message may hold so many: what bounds the dead letters of one."""

Leaf = tuple[tuple[str, ...], str, Any]
"""Keys of a path, a name for what lies there, its type."""


class RecordType(msgspec.Struct, frozen=True):
    """A type to decode into, and the attribute paths of "device", "time" and "values", or of "v0", "v1", … for fields by name."""

    type: Any
    where: dict[str, str]


def record_type(schema: Schema, tagged: bool = False) -> RecordType:
    """`tagged`: one of several types that are told apart by the schema's type; else a type of its own is part of the message."""
    leaves: list[Leaf] = [
        (path(schema.device), "device", device_type(schema)),
        (path(schema.time), "time", time_type(schema)),
        *value_leaves(schema),
    ]
    if schema.type and not tagged:
        # A struct with a tag outside of a union takes messages without it as well; a required Literal does not.
        leaves.append(((schema.type_key,), "kind", Literal[schema.type]))
    return build(leaves, **({"tag_field": schema.type_key, "tag": schema.type} if tagged else {}))


def device_record(schema: Schema, tagged: bool = False) -> RecordType:
    """A type that holds a message's device and nothing else. What else the message holds is only looked at for being the codec's."""
    return build([(path(schema.device), "device", device_type(schema))],
                 **({"tag_field": schema.type_key, "tag": schema.type} if tagged else {}))  # fmt: skip


def device_type(schema: Schema) -> Any:
    return str | array_of(str) if schema.layout == "columnar" else str


def time_type(schema: Schema) -> Any:
    return memoryview | array_of(int | float) if schema.layout == "columnar" else int | float


def value_leaves(schema: Schema) -> list[Leaf]:
    """Where the values lie, and what may lie there."""
    columnar, at = schema.layout == "columnar", path(schema.values)
    number: Any = memoryview | array_of(float) if columnar else float
    if schema.named:
        return [(at + keys, f"v{i}", number) for i, keys in enumerate(schema.field_paths)]
    row: Any = tuple[(float,) * len(schema.fields)]  # type: ignore[misc]
    if not columnar:
        return [(at, "values", row)]
    by_name = build([(keys, f"v{i}", number) for i, keys in enumerate(schema.field_paths)]).type
    rows = Annotated[list[float | row], msgspec.Meta(max_length=MAX_READINGS * len(schema.fields))]
    return [(at, "values", memoryview | rows | by_name)]


def array_of(kind: Any) -> Any:
    """An array of one entry a reading. The limit is looked at before room is made for what a header claims."""
    return Annotated[list[kind], msgspec.Meta(max_length=MAX_READINGS)]


def build(leaves: Sequence[Leaf], **config: Any) -> RecordType:
    """A struct with a struct for each map on the way to a leaf."""
    groups: dict[str, list[Leaf]] = {}
    for (key, *rest), name, kind in leaves:
        groups.setdefault(key, []).append((tuple(rest), name, kind))
    fields: list[tuple[str, Any]] = []
    where: dict[str, str] = {}
    for number, inner in enumerate(groups.values()):
        (keys, name, kind), *_ = inner
        if keys:
            name, deeper = f"m{number}", build(inner)
            kind = deeper.type
            where |= {leaf: f"{name}.{at}" for leaf, at in deeper.where.items()}
        else:
            where[name] = name
        fields.append((name, kind))
    rename = {name: key for (name, _), key in zip(fields, groups, strict=True)}
    return RecordType(msgspec.defstruct("Record", fields, rename=rename, gc=False, **config), where)
