"""What is worked on: messages made from a number, and the schema, plan and model that go with them.

Every reading has an event time of its own (START_MS plus its number, in ms), by which the candidates' scores are compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from swapstream.models.artifact import Artifact
from swapstream.scripts.console import progress
from swapstream.scripts.environment import Environment

PARTITIONS = 4
START_MS = 1_767_225_600_000
CHUNK = 20_000
"""Readings made at a time."""
IN_FLIGHT = 100_000
ERRORS = 2
"""librdkafka's level of logging: what matters is raised, and a broker that is gone is no news at the end."""
PLAN, SCHEMA = "plan.yaml", "bench.yaml"

Message = tuple[str, bytes]
"""Key and value."""


class Workload(ABC):
    """One kind of telemetry and what is done with it.

    `per_message` readings a message; `extractor` is the plan's list; `title` says for people what is measured.
    """

    title: str
    extractor: list[Any]
    per_message: int = 1

    @property
    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The schema's file."""

    @abstractmethod
    def train(self, store: Path | str, directory: Path) -> Artifact:
        """Make the model `bench:1` and put it where the plan finds it."""

    @abstractmethod
    def messages(self, first: int, count: int) -> Iterator[Message]:
        """Messages with the readings `first` to `first + count`, multiples of `per_message`, in this order."""

    def told(self, directory: Path) -> dict[str, Any]:
        """What rivals need to know beside the model's numbers, as fields of their Job."""
        return {}

    def plan(self) -> dict[str, Any]:
        """The plan's file."""
        return {"name": "bench", "schema": SCHEMA, "extractor": self.extractor, "champion": "bench:1"}

    def write(self, directory: Path) -> None:
        """Schema and plan."""
        for name, content in ((SCHEMA, self.schema), (PLAN, self.plan())):
            (directory / name).write_bytes(msgspec.yaml.encode(content))


def producer(environment: Environment, linger_ms: float = 20) -> Producer:
    """confluent-kafka's, because filling is no part of what is measured and it is five times as fast as kafka-python. Keys go
    where Java's clients put them."""
    return Producer({
        "bootstrap.servers": environment.broker.servers, "partitioner": "murmur2_random", "enable.idempotence": True,
        "linger.ms": linger_ms, "compression.type": "lz4", "queue.buffering.max.messages": 2 * IN_FLIGHT,
        "queue.buffering.max.kbytes": 512 * 1024, "log_level": ERRORS})


def fill(environment: Environment, workload: Workload, readings: int) -> float:
    """Write `readings` to telemetry (rounded up to whole messages); returns the mean size of a message in bytes."""
    topic, client = environment.topics.telemetry.name, producer(environment)
    step = max(CHUNK // workload.per_message, 1) * workload.per_message
    sizes: list[int] = []
    with progress("readings") as bar:
        task = bar.add_task("filling telemetry", total=readings)
        for first in range(0, readings, step):
            count = min(step, -(-(readings - first) // workload.per_message) * workload.per_message)
            sizes += send(client, topic, workload.messages(first, count))
            bar.update(task, completed=first + count)
        client.flush()
    return sum(sizes) / max(1, len(sizes))


def send(client: Producer, topic: str, messages: Iterator[Message]) -> list[int]:
    """Hand messages over, waiting while too many are under way; returns their sizes."""
    sizes = []
    for key, value in messages:
        while True:
            try:
                client.produce(topic, value, key.encode())
                break
            except BufferError:  # too many bytes are under way
                client.poll(0.05)
        sizes.append(len(value))
    while len(client) > IN_FLIGHT:
        client.poll(0.05)
    client.poll(0)
    return sizes


def spread(ends: dict[int, int], share: float) -> dict[int, int]:
    """Partition → where to stop, for a candidate that gets only the first part of each partition."""
    return {partition: int(end * min(1.0, share)) for partition, end in ends.items()}


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:0{len(str(count - 1))}d}" for number in range(count)]
