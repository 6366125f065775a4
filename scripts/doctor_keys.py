"""What `swapstream doctor` finds of telemetry itself: whether it is keyed by device, by one partitioner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from swapstream.jobs.partitioner import partition_of
from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.models.schema import Schema
from swapstream.operators.rekeying import Rekeying
from swapstream.operators.token import is_token
from swapstream.scripts import kafka
from swapstream.scripts.bounds import starts
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.findings import Finding, ok, wrong
from swapstream.scripts.known import known_of

SAMPLE = 1_000
"""Newest messages of each partition that are looked at."""
KEY_BY_DEVICE = "key telemetry by device, or let `swapstream rekey` write a topic that is: state is kept where a device's messages lie"


def key_findings(environment: Environment, topic: str) -> Iterator[Finding]:
    """What the newest messages of telemetry say. Raises ClusterError."""
    start = starts(environment, topic, SAMPLE)
    found = [record for record in kafka.read_to_end(environment, topic, start, read_committed=False)
             if not is_token(record.value)]  # fmt: skip
    yield judge_keys(found, len(start), topic)
    for schemas in schemas_in_force(environment):
        yield judge_devices(found, schemas, topic)


def schemas_in_force(environment: Environment) -> list[tuple[Schema, ...]]:
    """What the plans in force of the deployments here read, each once. Raises ClusterError."""
    found: dict[tuple[str, ...], tuple[Schema, ...]] = {}
    for deployment in Deployments(environment):
        with suppress(UnknownName, InvalidDefinition):
            known = known_of(environment, deployment.namespace, deployment.name)
            schemas = tuple(known.schemas(known.plan(known.in_force.plan)))
            found[tuple(schema.digest for schema in schemas)] = schemas
    return list(found.values())


def judge_keys(records: Iterable[kafka.Record], partitions: int, topic: str) -> Finding:
    """The first message whose key belongs elsewhere, or that has none. `records` has no tokens, which have no key."""
    seen = 0
    for record in records:
        seen += 1
        place = f"{topic}-{record.partition} at offset {record.offset}"
        if record.key is None:
            return wrong("keys", f"{place}: a message without a key", KEY_BY_DEVICE)
        if partition_of(record.key, partitions) != record.partition:
            return wrong("keys", f"{place}: key {record.key[:60]!r} belongs in partition {partition_of(record.key, partitions)} by murmur2",
                         "let all producers place keys alike: with librdkafka set partitioner=murmur2_random")
    return ok("keys", f"{seen} messages of {topic} lie where murmur2 puts their keys" if seen else f"{topic} is empty")


def judge_devices(records: Sequence[kafka.Record], schemas: Sequence[Schema], topic: str) -> Finding:
    """The first device that is in two partitions, by what these schemas say of messages; any key will do that follows from the device."""
    reader = Rekeying(schemas, topic, lambda key: 0)
    names = ", ".join(schema.name for schema in schemas)
    seen: dict[str, kafka.Record] = {}
    for record, devices in zip(records, reader.devices([record.value for record in records]), strict=True):
        for device in devices:
            first = seen.setdefault(device, record)
            if first.partition != record.partition:
                places = " and in ".join(f"partition {each.partition} at offset {each.offset}" for each in (first, record))
                return wrong(f"devices ({names})", f"{topic}: device {device[:60]!r} is in {places}", KEY_BY_DEVICE)
    return ok(f"devices ({names})", f"{len(seen)} devices of {topic} are in one partition each")
