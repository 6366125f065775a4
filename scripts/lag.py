"""How far a deployment's shards are behind the end of their partitions, as of their last completed checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from swapstream.scripts import kafka
from swapstream.scripts.connecting import broker_errors
from swapstream.scripts.environment import Environment
from swapstream.scripts.offsets import committed_offsets

PATIENCE = 2.0
"""Seconds to look for the records at which shards stand."""


class Lag(msgspec.Struct, frozen=True):
    """`records` lie between a shard's position and an offset; the first of them was written `seconds` ago (None: nobody knows).

    A shard that keeps up is behind by what came since its last checkpoint.
    """

    records: int
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.records:,} records" + ("" if self.seconds is None else f" ({self.seconds:.1f} s)")


def behind(upto: Mapping[int, int], positions: Mapping[int, int], written: Mapping[int, int], now_ms: int) -> dict[int, Lag]:
    """Partition → lag before the offsets `upto`, of partitions whose position is known.

    `written` is Kafka's timestamp (ms) of the record at a partition's position.
    """
    found = {}
    for partition, offset in upto.items():
        if partition in positions:
            records, since = max(0, offset - positions[partition]), written.get(partition)
            late = records > 0 and since is not None
            found[partition] = Lag(records, max(0.0, (now_ms - (since or 0)) / 1000) if late else (None if records else 0.0))
    return found


def lags(environment: Environment, group: str, upto: Mapping[int, int]) -> dict[int, Lag]:
    """Partition → how far a deployment's job (by its consumer group) is before the offsets `upto`. Raises ClusterError."""
    positions = committed_offsets(environment, group)
    waiting = {partition: positions[partition] for partition, offset in upto.items() if positions.get(partition, offset) < offset}
    return behind(upto, positions, first_timestamps(environment, waiting) if waiting else {}, int(time.time() * 1000))


def first_timestamps(environment: Environment, start: Mapping[int, int]) -> dict[int, int]:
    """Partition → the timestamp (ms) of the first record of telemetry at or after an offset, where one can be read soon."""
    client = kafka.consumer(environment, environment.topics.telemetry.name, start)
    found: dict[int, int] = {}
    try:
        with broker_errors(environment):
            client.pause(*(partition for partition in client.assignment() if partition.partition not in start))
            until = time.monotonic() + PATIENCE
            while found.keys() < start.keys() and time.monotonic() < until:
                for partition, records in client.poll(timeout_ms=200, max_records=500).items():
                    found.setdefault(partition.partition, records[0].timestamp)
                    client.pause(partition)
    finally:
        client.close()
    return found
