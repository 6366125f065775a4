"""A migration on trial: the newest state that each shard has published, taken over by the new job's own code here."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import InvalidDefinition, Rejected, SwapstreamError
from swapstream.models.objects import Objects
from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.frame import RawFrame
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.shard import Shard
from swapstream.operators.snapshots import Assembly, Published, decode_part
from swapstream.scripts import kafka
from swapstream.scripts.bounds import starts
from swapstream.scripts.environment import Environment

LOOKED_AT = (400, 4_000, 40_000, 400_000)
"""Messages at the end of `snapshots`, more and more of them, until there is a state of each shard among them."""


def newest_states(environment: Environment, told: JobSpec) -> dict[int, Published]:
    """Partition → the newest state of its shard that is whole, of the deployment's job that was told this. Raises ClusterError."""
    whose = (told.namespace, told.deployment, told.topics["telemetry"])
    name, found = environment.topics.snapshots.name, dict[int, Published]()
    for count in LOOKED_AT:
        start = starts(environment, name, count)
        assembly = Assembly()
        for record in kafka.read_to_end(environment, name, start):
            one = _whole(assembly, record, whose)
            if one and one.about.why != "arrival" and one.about.offset >= _offset(found, one.about.partition):
                found[one.about.partition] = one
        if len(found) >= told.partitions or not any(start.values()):
            break
    return found


def _whole(assembly: Assembly, record: kafka.Record, whose: tuple[str, str, str]) -> Published | None:
    try:
        part = decode_part(record.value or b"")
    except InvalidDefinition:
        return None
    return assembly.add(part) if (part.namespace, part.deployment, part.topic) == whose else None


def _offset(found: dict[int, Published], partition: int) -> int:
    return found[partition].about.offset if partition in found else -1


def try_migration(states: Iterable[Published], told: JobSpec, definitions: Definitions) -> None:
    """Let shards of a new job take over published states, up to their first record. Raises Rejected with the shard and the reason."""
    pipelines = Pipelines(definitions, told.namespace, Objects(told.store, told.store_prefixes))
    for one in states:
        about = one.about
        try:
            _take_over(one, told, definitions, pipelines)
        except SwapstreamError as error:
            raise Rejected(f"shard {about.partition}: its state, as of offset {about.offset}, can't be taken over: {error}") from error


def _take_over(one: Published, told: JobSpec, definitions: Definitions, pipelines: Pipelines) -> None:
    about = one.about
    assignment = Assignment(
        told.namespace, told.deployment, about.topic, told.plan, definitions.position, generation=told.generation, upgrade=told.upgrade,
        partitions=told.partitions,
    )  # fmt: skip
    shard = Shard(about.partition, assignment, definitions, pipelines)
    shard.restore(one.state)
    shard.on_frame(RawFrame(about.partition, [b""], np.array([about.offset + 1]), np.array([int(time.time() * 1000)]), [None]))
    shard.changes()
