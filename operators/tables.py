"""The device tables of a shard: one for each schema of its plan, and their entries under keys that name the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.models.schema import Schema
from swapstream.operators.device_store import BASE, read_table
from swapstream.operators.devices import DeviceTable
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.retention import Retention

SEPARATOR = "@"
"""Between a schema's name, which has none, and the key of its table's entry. Version 1 had one table, and no names."""


class Outline(msgspec.Struct, frozen=True):
    """What of a plan can be told without its extractors, whose code need not be here: the schemas by name, in order, and how many
    devices are remembered."""

    schemas: Mapping[str, Schema]
    devices: Retention

    @classmethod
    def of(cls, pipeline: Pipeline) -> Outline:
        return cls({name: part.schema for name, part in pipeline.inputs.items()}, pipeline.plan.devices)


class Tables:
    """`table` by schema; `changes` gives what is to be written since the call before."""

    def __init__(self, tables: dict[str, DeviceTable]) -> None:
        self._tables = tables
        self._gone: list[str] = []

    def __getitem__(self, schema: str) -> DeviceTable:
        return self._tables[schema]

    def items(self) -> Iterable[tuple[str, DeviceTable]]:
        """Schema and table."""
        return self._tables.items()

    @classmethod
    def new(cls, pipeline: Pipeline) -> Tables:
        return cls({name: part.new_table() for name, part in pipeline.inputs.items()})

    def unfit(self, before: Outline, after: Pipeline) -> str:
        """Why `carried` would fail, as a few devices show, "" where it would not. Changes nothing."""
        left, reasons = dict(self._tables), list[str]()
        for part in sorted(after.inputs.values(), key=lambda one: one.schema.name not in left):
            source = _source(part, before, left, after)
            if source:
                reasons.append(part.extractor.unfit(left.pop(source)))
        return next(filter(None, reasons), "")

    def carried(self, before: Outline, after: Pipeline, lose: bool = False) -> Tables:
        """For a swap: the devices of a schema go on under a schema of the same name or else of the same type; the state of
        extractors that stay the same is carried over, an older SCHEMA_VERSION migrated. This one is used up.

        Raises InvalidDefinition where that fails; with `lose` that state begins anew.
        """
        left, found = dict(self._tables), {}
        for part in sorted(after.inputs.values(), key=lambda one: one.schema.name not in left):
            source = _source(part, before, left, after)
            table = left.pop(source) if source else None
            found[part.schema.name] = part.extractor.carry(table, lose) if table is not None else part.new_table()
            if source != part.schema.name:
                found[part.schema.name].needs_rebase = True
        made = Tables({name: found[name] for name in after.inputs})
        made._gone = [*self._gone, *(self._tables.keys() - found.keys())]
        return made

    def changes(self, everything: bool = False) -> tuple[dict[str, bytes | None], tuple[str, ...]]:
        """Entries to put, or with None to remove, and the beginnings of keys of which all entries are removed before."""
        entries: dict[str, bytes | None] = {}
        cleared = [f"{name}{SEPARATOR}" for name in self._gone]
        for name, table in self._tables.items():
            whole = everything or table.needs_rebase
            cleared += [f"{name}{SEPARATOR}"] * whole
            found = table.rebase() if whole else table.changes()
            entries |= {f"{name}{SEPARATOR}{key}": value for key, value in found.items()}
        self._gone = []
        return entries, ("",) if everything else tuple(cleared)

    def snapshot(self) -> dict[str, bytes]:
        """Each table in one piece."""
        return {name: table.snapshot() for name, table in self._tables.items()}

    def weight(self, name_bytes: int) -> int:
        """About how many bytes `snapshot` gives, where a device's name has `name_bytes`."""
        return sum(len(table) * (table.layout.row_bytes + name_bytes) for table in self._tables.values())

    @classmethod
    def restored(cls, pipeline: Pipeline, entries: Mapping[str, bytes]) -> Tables:
        """From all entries that `changes` gave. Raises InvalidDefinition."""
        groups = _by_schema(entries, tuple(pipeline.inputs))
        return cls({
            name: part.extractor.restore(groups[name]) if name in groups else part.new_table()
            for name, part in pipeline.inputs.items()
        })

    @classmethod
    def read(cls, outline: Outline, entries: Mapping[str, bytes]) -> Tables:
        """The same as they were written, each in the layout that its bytes name, for `carried` alone. Raises InvalidDefinition."""
        groups = _by_schema(entries, tuple(outline.schemas))
        return cls({name: read_table(group, outline.devices) for name, group in groups.items()})


def entries_of(tables: dict[str, bytes] | bytes | None) -> dict[str, bytes]:
    """Entries of whole tables, as `snapshot` gave them, or (version 1) of the only one."""
    if isinstance(tables, bytes):
        return {BASE: tables}
    return {f"{schema}{SEPARATOR}{BASE}": table for schema, table in (tables or {}).items()}


def _by_schema(entries: Mapping[str, bytes], schemas: tuple[str, ...]) -> dict[str, dict[str, bytes]]:
    """The entries of each table. Raises InvalidDefinition for one of a schema that is none of these."""
    groups: dict[str, dict[str, bytes]] = {}
    for key, value in entries.items():
        schema, separator, inner = key.partition(SEPARATOR)
        groups.setdefault(schema if separator else schemas[0], {})[inner if separator else key] = value
    if strange := groups.keys() - set(schemas):
        raise InvalidDefinition(f"state of devices of schema {min(strange)!r}; the plan has {', '.join(schemas)}")
    return groups


def _source(part: LoadedInput, before: Outline, left: dict[str, DeviceTable], after: Pipeline) -> str | None:
    """The schema whose devices a schema takes over."""
    if part.schema.name in left:
        return part.schema.name
    return next(
        (name for name in left if name not in after.inputs and before.schemas[name].type == part.schema.type), None
    )
