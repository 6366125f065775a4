"""Transactions that are open on telemetry: no read_committed reader gets past the oldest of them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError

from swapstream.models.errors import ClusterError
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment
from swapstream.scripts.topics import admin

UNCOMMITTED = ("Ongoing", "PrepareCommit")
HELD_SECONDS = 10.0
"""A swap's transaction is open for 2 s at most: what is older holds back every reader of telemetry."""


class OpenTransaction(msgspec.Struct, frozen=True):
    """Begun by a producer at an offset; `silent` seconds ago it was last heard of. `name`: its transactional id, "" where the broker
    does not say."""

    topic: str
    partition: int
    offset: int
    producer: int
    silent: float
    name: str = ""

    def __str__(self) -> str:
        who = f"{self.name!r} (producer {self.producer})" if self.name else f"producer {self.producer}"
        return (f"{self.topic}-{self.partition}: no reader gets past offset {self.offset}, where {who} has begun a transaction, "
                f"last heard of {self.silent:.0f} s ago")  # fmt: skip

    @property
    def remedy(self) -> str:
        return (f"end that producer, or `kafka-transactions.sh … abort --topic {self.topic} --partition {self.partition} "
                f"--start-offset {self.offset}`")  # fmt: skip


def open_transactions(client: Any, topic: str, partitions: int) -> list[OpenTransaction]:
    """Those that hold readers back for longer than a swap may, the oldest first. `client` is Kafka's admin client.

    Raises KafkaError where the user may not ask.
    """
    found, now = client.describe_producers([TopicPartition(topic, number) for number in range(partitions)]), time.time()
    every = [OpenTransaction(topic, partition.partition, producer.current_transaction_start_offset, producer.producer_id,
                             now - producer.last_timestamp / 1000)
             for partition, state in found.items() for producer in state.active_producers
             if producer.current_transaction_start_offset >= 0]  # fmt: skip
    old = sorted((each for each in every if each.silent > HELD_SECONDS), key=lambda each: -each.silent)
    names = transactional_ids(client, {each.producer for each in old})
    return [msgspec.structs.replace(each, name=names.get(each.producer, "")) for each in old]


def transactional_ids(client: Any, producers: set[int]) -> dict[int, str]:
    """Of producers by their number, as far as the user may ask and the broker knows."""
    with suppress(KafkaError):
        listed = client.list_transactions(producer_id_filters=sorted(producers)) if producers else {}
        return {each.producer_id: each.transactional_id for every in listed.values() for each in every}
    return {}


def uncommitted(environment: Environment, prefix: str) -> list[str]:
    """The transactional ids that begin so and have written what is not committed; none where the user may not see them."""
    with suppress(ClusterError, KafkaError), admin(environment) as client:
        listed = client.list_transactions(state_filters=list(UNCOMMITTED))
        return sorted(each.transactional_id for every in listed.values() for each in every if each.transactional_id.startswith(prefix))
    return []


def abort_all(environment: Environment, prefix: str) -> None:
    """Abort what producers that are gone have left open, as far as the user may; the broker does it when their time is up."""
    for name in uncommitted(environment, prefix):
        with suppress(ClusterError):
            kafka.transactional_producer(environment, name).close()
