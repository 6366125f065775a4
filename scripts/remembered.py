"""What devices are known by where a span begins: the state that a deployment's shards had there, or else some records before it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.operators.device_store import BASE, read_table
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.shard_state import Snapshot
from swapstream.operators.snapshots import Published
from swapstream.operators.wire import read
from swapstream.scripts.environment import Environment
from swapstream.scripts.reading import Reading
from swapstream.scripts.snapshots import known_of
from swapstream.scripts.spans import BEFORE, Section
from swapstream.scripts.submitted import the_deployment


class Remembered(msgspec.Struct, frozen=True):
    """Where a run over a span begins in a partition.

    - offset: of the first record to be run; those before the span are run for what is remembered of devices alone.
    - tables: what is remembered then, by schema; of the others nothing. Each can be used once.
    - state: the snapshot which that comes out of. lacking: why there is none, and devices warm up; "" where they need not.
    """

    offset: int
    tables: Mapping[str, DeviceTable] = {}
    state: Published | None = None
    lacking: str = ""


class Memories:
    """The nearest published state before each section. `deployment`: None is the only one that runs here. `before`: so many records warm
    devices up in place of all that; None: only where there is no state that fits. Raises ClusterError."""

    def __init__(
        self, environment: Environment, namespace: str | None, deployment: str | None, wanted: Mapping[int, Section], before: int | None
    ) -> None:
        self._wanted, self._before = wanted, BEFORE if before is None else before
        self._found: dict[int, Published] = {}
        self._why = "so it was asked for"
        if before is None:
            try:
                whose = namespace or environment.job.namespace, the_deployment(environment, deployment)
            except UnknownName as error:
                self._why = str(error)
            else:
                self._found = states_before(environment, *whose, wanted)
                self._why = f"no state that {'/'.join(whose)} has published lies before it"

    def of(self, partition: int, extractors: Mapping[str, Composite]) -> Remembered:
        """For a plan's extractors, by schema."""
        section = self._wanted[partition]
        stateful = {schema: extractor for schema, extractor in extractors.items() if not extractor.stateless}
        if not stateful or section.span.last < section.span.first:
            return Remembered(section.span.first)
        state = self._found.get(partition)
        tables = tables_of(state, stateful) if state else self._why
        if state is None or isinstance(tables, str):
            return self.without(partition, str(tables))
        return Remembered(state.about.offset + 1, tables, state)

    def without(self, partition: int, why: str) -> Remembered:
        """Where its state can't be had."""
        return Remembered(self._wanted[partition].warmed(self._before), lacking=why)


def states_before(
    environment: Environment, namespace: str, deployment: str, wanted: Mapping[int, Section]
) -> dict[int, Published]:
    """What a deployment's shards have published last before each section."""
    with Reading(environment, environment.topics.snapshots.name, "earliest") as reading:
        known = known_of(iter(reading.next, None), namespace, deployment, environment.topics.telemetry.name, wanted)
    return {partition: one.before for partition, one in known.items() if one.before}


def tables_of(state: Published, extractors: Mapping[str, Composite]) -> dict[str, DeviceTable] | str:
    """The devices of each schema as an extractor goes on with them; or why one of them can't."""
    bodies, found = read(state.state, Snapshot, InvalidDefinition, "a shard's snapshot").tables, {}
    for schema, extractor in extractors.items():
        body = bodies if isinstance(bodies, bytes) else (bodies or {}).get(schema)
        if not body:
            return f"schema {schema!r} was not in the plan in force then"
        table = read_table({BASE: body}, extractor.retention)
        if lacking := extractor.lacks(table):
            return lacking
        found[schema] = extractor.carry(table)
    return found


def warmed_up(found: Mapping[int, Remembered], wanted: Mapping[int, Section]) -> str | None:
    """Where devices had to warm up, with how many records, and why, as one line; None where they went on from published state."""
    reasons: dict[tuple[int, str], list[str]] = {}
    for partition, one in found.items():
        if one.lacking:
            reasons.setdefault((wanted[partition].span.first - one.offset, one.lacking), []).append(str(partition))
    said = [f"with the {count:,} records before the span in partition {', '.join(partitions)}: {why}"
            for (count, why), partitions in reasons.items()]
    return "; ".join(said) or None
