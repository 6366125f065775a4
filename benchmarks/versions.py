"""Reading telemetry and output for what `cuts.py` looks at: which offsets are readings, and which version scored each."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from confluent_kafka import KafkaError

from benchmarks import measure
from benchmarks.cluster import RIVAL
from benchmarks.cuts import Part
from benchmarks.measure import BATCH, Offsets
from swapstream.models.errors import ClusterError
from swapstream.operators.frame import Int64
from swapstream.operators.scores import decode_scores
from swapstream.operators.token import FIRST_BYTE
from swapstream.scripts.environment import Environment


def readings(environment: Environment, since: Offsets, until: Offsets) -> dict[int, Int64]:
    """Partition → offsets of the readings in telemetry from `since` to before `until`: what is no token."""
    topic, found = environment.topics.telemetry.name, {partition: [np.zeros(0, np.int64)] for partition in since}
    consumer = measure.reader(environment, topic, since, committed=True)
    left = {partition for partition in since if since[partition] < until[partition]}
    while left:
        batch: dict[int, list[int]] = {}
        for message in consumer.consume(BATCH, 1.0):
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise ClusterError(f"reading {topic}: {error}")
            if error is not None or offset >= until[partition] - 1:
                left.discard(partition)
            if error is None and offset < until[partition] and message.value()[:1] != FIRST_BYTE:
                batch.setdefault(partition, []).append(offset)
        for partition, offsets in batch.items():
            found[partition].append(np.array(offsets, np.int64))
    consumer.close()
    return {partition: np.concatenate(parts) for partition, parts in found.items()}


def scored(environment: Environment, since: Offsets, plans: dict[int, str]) -> Iterator[Part]:
    """What Swapstream wrote and committed; `plans` has the digest of each epoch. Raises ClusterError for another than that."""
    for message in measure.messages(environment, environment.topics.scores.name, since):
        frame = decode_scores(message.value)
        said = frame.provenance
        if plans.get(said.epoch) != said.plan_digest:
            raise ClusterError(f"a frame of epoch {said.epoch} says plan {said.plan_digest[:12]}, not {plans.get(said.epoch)}")
        yield Part(said.partition, said.epoch, frame.column("offsets"), message.appended)


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """What `rivals/polling_readings.py` writes: the version, the partition, offsets <i8 and scores <f8 of a batch."""

    version: int
    partition: int
    offsets: bytes
    scores: bytes


def polled(environment: Environment, since: Offsets) -> Iterator[Part]:
    """What the rival wrote."""
    for message in measure.messages(environment, RIVAL, since):
        batch = msgspec.msgpack.decode(message.value, type=Batch)
        yield Part(batch.partition, batch.version, np.frombuffer(batch.offsets, "<i8"), message.appended)
