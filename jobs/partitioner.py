"""Where a key goes: Kafka's default partitioner, which every producer of telemetry must share, and keys that go where wanted."""

from __future__ import annotations

from itertools import count

from kafka.partitioner.default import murmur2


def message_keys(partitions: int, targets: int) -> dict[int, bytes]:
    """partition → a key that Kafka's default partitioner sends to that partition, modulo the `targets` a topic has."""
    wanted = {partition: partition % targets for partition in range(partitions)}
    keys: dict[int, bytes] = {}
    for partition, target in wanted.items():
        keys[partition] = next(
            key for n in count() if partition_of(key := f"{partition}.{n}".encode(), targets) == target
        )
    return keys


def partition_of(key: bytes, partitions: int) -> int:
    """Kafka's default partitioner."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
