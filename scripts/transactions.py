"""Transactions that are open on telemetry: no read_committed reader gets past the oldest of them."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka import TopicPartition

HELD_SECONDS = 10.0
"""A swap's transaction is open for 2 s at most: what is older holds back every reader of telemetry."""


class OpenTransaction(msgspec.Struct, frozen=True):
    """Begun by a producer at an offset; `silent` seconds ago it was last heard of."""

    topic: str
    partition: int
    offset: int
    producer: int
    silent: float

    def __str__(self) -> str:
        return (f"{self.topic}-{self.partition}: no reader gets past offset {self.offset}, where producer {self.producer} has begun "
                f"a transaction, last heard of {self.silent:.0f} s ago")  # fmt: skip


def open_transactions(client: Any, topic: str, partitions: int) -> list[OpenTransaction]:
    """Those that hold readers back for longer than a swap may, the oldest first. `client` is Kafka's admin client.

    Raises KafkaError where the user may not ask.
    """
    found, now = client.describe_producers([TopicPartition(topic, number) for number in range(partitions)]), time.time()
    every = [OpenTransaction(topic, partition.partition, producer.current_transaction_start_offset, producer.producer_id,
                             now - producer.last_timestamp / 1000)
             for partition, state in found.items() for producer in state.active_producers
             if producer.current_transaction_start_offset >= 0]  # fmt: skip
    return sorted((each for each in every if each.silent > HELD_SECONDS), key=lambda each: -each.silent)
