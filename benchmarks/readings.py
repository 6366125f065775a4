"""Readings of 8 values from many devices, one a message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.stages import Stages
from benchmarks.workload import START_MS, Message, Workload, names
from swapstream.models import Store, train
from swapstream.models.artifact import Artifact
from swapstream.operators.frame import Float64

HALFLIFE = 20.0
FIELDS = ("temperature", "pressure", "flow", "vibration", "current", "voltage", "speed", "torque")
TRAINING, TRAINING_DEVICES = 50_000, 500


def values(first: int, count: int) -> Float64:
    """Values [count, 8] of consecutive readings."""
    return np.random.default_rng(first).normal(20.0, 3.0, (count, len(FIELDS)))


class Readings(Workload):
    """102 bytes of msgpack a reading, from `devices` devices in turn. Features: the values and their exponentially weighted
    mean and deviation per device (state: 17 numbers a device); the model is a z-score over all 24."""

    extractor = ["identity", {"ewm": {"halflife": HALFLIFE}}]  # noqa: RUF012

    def __init__(self, devices: int = 1000) -> None:
        self.title = f"one reading of 8 values a message, {devices:,} devices"
        self.devices = names("device", devices)
        self._encode = msgspec.msgpack.Encoder().encode

    @property
    def schema(self) -> dict[str, Any]:
        return {"name": "bench", "device": "id", "time": "ts", "values": "v", "fields": list(FIELDS)}

    def messages(self, first: int, count: int) -> Iterator[Message]:
        for number, row in enumerate(values(first, count).tolist(), first):
            yield self.message(number, START_MS + number, row)

    def message(self, number: int, when: int, row: list[float]) -> Message:
        """One reading, with the time in the schema's unit."""
        name = self.devices[number % len(self.devices)]
        return name, self._encode({"id": name, "ts": when, "v": row})

    def told(self, directory: Path) -> dict[str, Any]:
        return {"halflife": HALFLIFE, "warmup": math.ceil(2 * HALFLIFE)}

    def train(self, store: Path | str, directory: Path) -> Artifact:
        """A z-score fitted to features of single readings of their own, of few devices, so that they warm up soon."""
        sample, schema = Readings(TRAINING_DEVICES), directory / "training.yaml"
        schema.write_bytes(msgspec.yaml.encode(sample.schema))
        stages = Stages(schema, self.extractor)
        _, features, warming = stages.extract([value for _, value in sample.messages(0, TRAINING)])
        artifact = train("zscore", features[~warming], stages.composite.features, name="bench")
        Store(store).put(artifact)
        return artifact
