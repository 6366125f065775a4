"""Device state after a row of handovers, against a replay of telemetry by the same core, without Flink.

What a job knows of a device began with the first one: each took the state over where it forked, migrated it to its plan, and went on.
So the replay changes the plan at these places, and not at the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice

import msgspec
import numpy as np
from confluent_kafka import KafkaError, Message

from benchmarks import measure
from benchmarks.handing_over import NAME, Upgrade
from benchmarks.measure import BATCH
from swapstream.models.errors import ClusterError, InvalidDefinition
from swapstream.models.objects import Objects
from swapstream.operators.assignment import Assignment
from swapstream.operators.frame import RawFrame
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.scoring import Scoring
from swapstream.operators.shard_state import Snapshot
from swapstream.operators.snapshots import Assembly, decode_part
from swapstream.operators.tables import Tables
from swapstream.operators.token import FIRST_BYTE
from swapstream.operators.wire import read
from swapstream.scripts import kafka
from swapstream.scripts.acknowledge import ledger_row
from swapstream.scripts.code import look_into
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import read_definitions

FRAME = 20_000
"""Records that are replayed at once. Nothing that is computed depends on it."""


class Compared(msgspec.Struct, frozen=True):
    """Devices whose state was replayed, and the partitions in which it is not the same, byte for byte."""

    devices: int
    different: list[int]


class Life(msgspec.Struct, frozen=True):
    """A partition's: each plan, and behind which offset its state went on under it; and where that is looked at."""

    partition: int
    plans: list[tuple[int, str]]
    end: int

    def plan(self, offset: int) -> str:
        """Under which the record at an offset was taken up."""
        return [plan for behind, plan in self.plans if behind < offset][-1]


def compare(environment: Environment, first: str, upgrades: Sequence[Upgrade]) -> Compared:
    """Of every partition, right behind the token of the last handover; `first` is the plan before all. Raises ClusterError."""
    look_into(environment)
    pipelines = Pipelines(read_definitions(environment), environment.job.namespace,
                          Objects(str(environment.store), environment.models.allowed))  # fmt: skip
    forks, states = forked(environment), published(environment, upgrades[-1])
    devices, different = 0, []
    for partition, end in sorted(upgrades[-1].change.offsets.items()):
        life = Life(partition, [(-1, first), *((forks[one.generation, partition], one.plan) for one in upgrades)], end)
        tables = replayed(environment, pipelines, life)
        devices += sum(len(tables[name]) for name in tables.snapshot())
        if tables.snapshot() != states[partition]:
            different.append(partition)
    return Compared(devices, different)


def forked(environment: Environment) -> dict[tuple[int, int], int]:
    """Generation and partition → behind which offset that job took the state over, as the ledger tells."""
    rows = map(ledger_row, kafka.read_to_end(environment, environment.topics.ledger.name))
    return {(row["generation"], row["partition"]): row["offset"] for row in rows if row.get("event") == "forked"}


def published(environment: Environment, last: Upgrade) -> dict[int, dict[str, bytes]]:
    """Partition → the tables that the new job's shard published right behind its token. Raises ClusterError."""
    found, assembly = {}, Assembly()
    for record in kafka.read_to_end(environment, environment.topics.snapshots.name):
        whole = assembly.add(decode_part(record.value or b""))
        if whole is None or (whole.about.why, whole.about.generation) != ("cut", last.generation):
            continue
        tables = read(whole.state, Snapshot, InvalidDefinition, "a shard's snapshot").tables
        if isinstance(tables, dict) and whole.about.offset == last.change.offsets[whole.about.partition]:
            found[whole.about.partition] = tables
    if absent := last.change.offsets.keys() - found.keys():
        raise ClusterError(f"shards {sorted(absent)} of generation {last.generation} have not published their state at the token")
    return found


def replayed(environment: Environment, pipelines: Pipelines, life: Life) -> Tables:
    """The tables behind the last record before `life.end`."""
    scoring = Scoring(life.partition, Assignment(environment.job.namespace, NAME, environment.topics.telemetry.name, life.plans[0][1], 0))
    for records in in_batches(readings(environment, life.partition, life.end)):
        for plan, each in groupby(records, lambda record: life.plan(record.offset())):
            if plan != scoring.digest:
                scoring.activate(pipelines.get(plan), scoring.epoch + 1)
            raw = frame(life.partition, list(each))
            scoring.follow(raw, 0, len(raw))
    assert scoring.tables is not None
    return scoring.tables


def frame(partition: int, records: Sequence[Message]) -> RawFrame:
    offsets, times = (np.array(column, np.int64) for column in zip(*((one.offset(), one.timestamp()[1]) for one in records), strict=True))
    return RawFrame(partition, [one.value() for one in records], offsets, times, [one.key() for one in records])


def readings(environment: Environment, partition: int, end: int) -> Iterator[Message]:
    """A partition of telemetry from its beginning up to an offset, without tokens. Raises ClusterError."""
    topic = environment.topics.telemetry.name
    with closing(measure.reader(environment, topic, {partition: 0}, committed=True)) as consumer:
        while True:
            for message in consumer.consume(BATCH, 1.0):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise ClusterError(f"reading {topic}: {error}")
                if error is not None or message.offset() >= end:
                    return
                if message.value()[:1] != FIRST_BYTE:
                    yield message


def in_batches(messages: Iterator[Message]) -> Iterator[list[Message]]:
    while found := list(islice(messages, FRAME)):
        yield found
