"""The work that every candidate does: the same readings, features and model, and the files that describe them.

Readings are 103 bytes of msgpack (8 values, a device, a time), spread over 1,000 devices and 4 partitions by device. Features are
the values and their exponentially weighted mean and deviation per device; the model is a z-score over all 24.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Producer

from swapstream.models import Store, train
from swapstream.models.artifact import Artifact
from swapstream.models.schema import encoder, load_schema
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Float64, Frame
from swapstream.scripts import kafka
from swapstream.scripts.console import progress
from swapstream.scripts.environment import Environment
from swapstream.scripts.topics import admin

HALFLIFE = 20.0
EXTRACTOR = ["identity", {"ewm": {"halflife": HALFLIFE}}]
FIELDS = ("temperature", "pressure", "flow", "vibration", "current", "voltage", "speed", "torque")
DEVICES = 1000
PARTITIONS = 4
START_MS = 1_767_225_600_000
CHUNK = 20_000
RIVAL = "rival"
TRAINING = 50_000

SCHEMA = {"name": "bench", "device": "id", "time": "ts", "values": "v", "fields": list(FIELDS)}
PLAN = {"name": "bench", "schema": "bench.yaml", "extractor": EXTRACTOR, "champion": "bench:1"}

# Broker time on the output says when a record was written, whatever time its producer gives it.
STAMPED = {"message.timestamp.type": "LogAppendTime"}


def write_files(directory: Path) -> Path:
    """Schema, plan and environment; returns the environment's path."""
    topics = {"telemetry": {"name": "telemetry", "partitions": PARTITIONS},
              "scores": {"name": "scores", "partitions": PARTITIONS, "config": STAMPED}}
    closed = {"directory": str(directory / "cluster"), "topics": topics,
              "broker": {"port": 0, "controller_port": 0}, "flink": {"rest_port": 0}}
    for name, content in (("environment", closed), ("plan", PLAN), ("bench", SCHEMA)):
        (directory / f"{name}.yaml").write_bytes(msgspec.yaml.encode(content))
    return directory / "environment.yaml"


def device(number: int) -> str:
    """The device of reading `number`."""
    return f"device-{number % DEVICES:04d}"


def readings(first: int, count: int) -> Float64:
    """Values [count, 8] of consecutive readings."""
    return np.random.default_rng(first).normal(20.0, 3.0, (count, len(FIELDS)))


def train_model(store: Path, directory: Path) -> Artifact:
    """Fit the z-score on features of readings of their own, and put it where the plan finds it."""
    schema = load_schema(directory / "bench.yaml")
    composite = Composite.parse(EXTRACTOR, schema.names)
    offsets = np.arange(TRAINING)
    frame = Frame(0, offsets, offsets, offsets, [device(i) for i in range(TRAINING)], readings(TRAINING, TRAINING))
    features, warming = composite.extract(frame, composite.table())
    artifact = train("zscore", features[~warming], composite.features, name="bench")
    Store(store).put(artifact)
    return artifact


def fill(environment: Environment, directory: Path, count: int) -> float:
    """Write `count` readings to telemetry; returns their mean size in bytes."""
    encode = encoder(load_schema(directory / "bench.yaml"))
    partition = {device(i): kafka.partition_of(device(i).encode(), PARTITIONS) for i in range(DEVICES)}
    topic, written = environment.topics.telemetry.name, 0
    # confluent-kafka, because filling is no part of what is measured and it is five times as fast as kafka-python.
    producer = Producer({"bootstrap.servers": environment.broker.servers, "linger.ms": 20, "compression.type": "lz4",
                         "enable.idempotence": True, "queue.buffering.max.messages": 4 * CHUNK})
    with progress() as bar:
        task = bar.add_task("filling telemetry", total=count)
        for first in range(0, count, CHUNK):
            for number, values in enumerate(readings(first, min(CHUNK, count - first)).tolist(), first):
                name = device(number)
                message = encode(name, START_MS + number, values)
                producer.produce(topic, message, name.encode(), partition[name])
                written += len(message)
            producer.flush()
            bar.update(task, completed=min(first + CHUNK, count))
    return written / count


def create_rival_topic(environment: Environment) -> None:
    """Where the per-record job writes: as `scores`, one message a record."""
    with admin(environment) as client:
        client.create_topics({RIVAL: {"num_partitions": PARTITIONS, "replication_factor": -1, "configs": STAMPED}})
        client.wait_for_topics([RIVAL])
