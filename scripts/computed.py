"""Features of a span of telemetry, computed here by the code that the cluster runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.batches import Batch
from swapstream.operators.device_store import BASE, read_table
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extraction import Extraction
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.shard_state import Snapshot
from swapstream.operators.snapshots import Published
from swapstream.operators.wire import read
from swapstream.scripts.environment import Environment
from swapstream.scripts.reading import Reading
from swapstream.scripts.rerun import FRAME, frames
from swapstream.scripts.snapshots import known_of
from swapstream.scripts.spans import Section
from swapstream.scripts.training import Input


class Remembered(NamedTuple):
    """What is known of devices in a partition, and the first record that is not in it yet."""

    table: DeviceTable | None
    offset: int


def computed(environment: Environment, topic: str, partition: int, section: Section, given: Input, state: Remembered) -> Iterator[Batch]:
    """The features of a partition's span. `state`: from where on, and with which memory, devices are followed; readings before the
    span only warm them up. Raises ClusterError."""
    extraction = Extraction(given.schemas, given.schema.name, given.extractor, state.table)
    with Reading(environment, topic, {partition: state.offset}, {partition}, most=FRAME) as reading:
        for raw in frames(reading, partition, section.span.last):
            batch = extraction.take(raw).within(section.span.first, section.span.last)
            if len(batch):
                yield batch


def afresh(wanted: Mapping[int, Section]) -> dict[int, Remembered]:
    """No device is remembered where a span begins."""
    return {partition: Remembered(None, section.span.first) for partition, section in wanted.items()}


def remembered(
    environment: Environment, namespace: str, deployment: str, topic: str, wanted: Mapping[int, Section], given: Input
) -> dict[int, Remembered]:
    """What the deployment's shards remembered of devices in the nearest snapshot before each span; without one nothing."""
    found = afresh(wanted)
    with Reading(environment, environment.topics.snapshots.name, "earliest") as reading:
        known = known_of(iter(reading.next, None), namespace, deployment, topic, wanted)
    for partition, one in known.items():
        if one.before:
            found[partition] = Remembered(table_of(one.before, given.schema.name, given.extractor), one.before.about.offset + 1)
    return found


def table_of(snapshot: Published, schema: str, extractor: Composite) -> DeviceTable | None:
    """The devices of a schema as an extractor goes on with them; what it does not know from there warms up."""
    tables = read(snapshot.state, Snapshot, InvalidDefinition, "a shard's snapshot").tables
    body = tables if isinstance(tables, bytes) else (tables or {}).get(schema)
    return extractor.carry(read_table({BASE: body}, extractor.retention)) if body else None
