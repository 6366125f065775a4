"""A million devices within a minute, each of them new: the job stays up, remembers as many as it may, and answers every record."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from confluent_kafka import Producer

from swapstream.models.schema import encoder
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.processes import marked

from .demo import FEATURES, PATH, SCHEMA, smoothed
from .support import Stand, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.long]

DEVICES, RATE, BAD_EVERY = 1_000_000, 20_000, 1_000
REMEMBERED = 10_000
"""Devices of a shard: `devices.max`. All shards have as many 25 times over."""
GROWTH = 1.15
"""How much larger a worker may get once its shards are full."""


def plan(stand: Stand) -> Path:
    model = stand.train("zscore", 1, np.random.default_rng(3).normal(size=(2000, len(FEATURES))), FEATURES)
    written = stand.plan("plan", PATH, smoothed(20), model)
    return stand.write("plan", msgspec.yaml.decode(written.read_bytes()) | {"devices": {"max": REMEMBERED}})


def resident(stand: Stand) -> int:
    """Bytes of the Python workers."""
    workers = [each for each in marked(stand.environment.path) if any("pyflink.fn_execution" in word for word in each.cmdline())]
    return sum(each.memory_info().rss for each in workers)


def feed(stand: Stand) -> tuple[float, list[int]]:
    """One reading of each device, at a steady rate; seconds it took, and the workers' memory after each tenth."""
    encode, values = encoder(SCHEMA), np.random.default_rng(1).normal(size=(1000, len(SCHEMA.names))).tolist()
    client = Producer({"bootstrap.servers": stand.environment.broker.servers, "partitioner": "murmur2_random", "linger.ms": 5})
    topic, began, memory = stand.environment.topics.telemetry.name, time.monotonic(), []
    for number in range(DEVICES):
        device = f"device-{number:07d}"
        now = time.time_ns() // 1_000_000
        value = b"\x91" if number % BAD_EVERY == 0 else encode(device, now, values[number % 1000])
        client.produce(topic, value, device.encode())
        if number % 1000 == 0:
            client.poll(0)
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        if (number + 1) % (DEVICES // 10) == 0:
            memory.append(resident(stand))
    assert client.flush(60) == 0
    return time.monotonic() - began, memory


def answers(stand: Stand) -> dict[int, np.ndarray]:
    """Partition → offsets of records that are answered, one for each answer."""
    found: dict[int, list[np.ndarray]] = {}
    for frame in stand.frames():
        found.setdefault(frame.provenance.partition, []).append(frame.column("offsets"))
    for letter in stand.dead_letters():
        found.setdefault(letter.partition, []).append(np.array([letter.offset]))
    return {partition: np.concatenate(offsets) for partition, offsets in found.items()}


@pytest.mark.skipif(psutil.virtual_memory().total < 6e9, reason="needs 6 GB of memory")
def test_a_million_devices_in_a_minute(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, "many")
    [row] = stand.rows("submit", "detect", "--plan", plan(stand))
    seconds, memory = feed(stand)
    wait_until(lambda: sum(map(len, answers(stand).values())) >= DEVICES, 90, "every record is answered", every=3)
    memory.append(resident(stand))
    found, letters = answers(stand), stand.dead_letters()
    restarts = FlinkRest(stand.environment.flink.url).restarts(row["job"])
    stand.cancel()
    print(f"{DEVICES:,} devices in {seconds:.1f} s; workers, MB after each tenth and at the end: {[round(each / 1e6) for each in memory]}")
    assert seconds < 60
    assert restarts == 0
    assert sum(map(len, found.values())) == sum(len(np.unique(offsets)) for offsets in found.values()) == DEVICES
    assert len(letters) == DEVICES // BAD_EVERY
    assert max(memory[3:]) < GROWTH * memory[2]
