"""Readings with their features as columns, to learn from: out of the archive, or computed from telemetry; the same either way."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.labels import Labels
from swapstream.operators.scores import ScoresFrame


class Made(msgspec.Struct, frozen=True):
    """What made the features: the extractor (name:version:digest), and their names."""

    extractor: str
    features: tuple[str, ...]


class Batch(msgspec.Struct, frozen=True):
    """n readings of one partition and schema in the log's order: `devices[device[i]]`, event `times` in µs, `features` [n, K]."""

    made: Made
    partition: int
    offsets: Int64
    index: Int64
    devices: list[str]
    device: Int64
    times: Int64
    warming: Bool
    features: Float64

    def __len__(self) -> int:
        return len(self.offsets)

    def within(self, first: int, last: int) -> Batch:
        """The readings of messages at offsets first to last, both included."""
        inside = (self.offsets >= first) & (self.offsets <= last)
        return self if inside.all() else self.take(inside)

    def take(self, where: Bool | Int64) -> Batch:
        columns: dict[str, Any] = {name: getattr(self, name)[where] for name in COLUMNS}
        return msgspec.structs.replace(self, **columns)

    def labelled(self, labels: Labels, topic: str) -> tuple[Bool, Bool]:
        """Whether each reading has a label, and whether that says that it is an anomaly."""
        return labels.said(topic, self.partition, self.offsets, self.index, self.devices, self.device, self.times)


COLUMNS = ("offsets", "index", "device", "times", "warming", "features")


def archived(frame: ScoresFrame) -> Batch:
    """A message of `features`."""
    where = frame.provenance
    features = np.frombuffer(frame.features, "<f8").reshape(len(frame), len(frame.feature_names))
    return Batch(
        Made(where.extractor, frame.feature_names), where.partition, frame.column("offsets"), frame.column("index"), frame.devices,
        frame.column("device"), frame.column("times"), np.frombuffer(frame.warming, "?"), features,
    )  # fmt: skip


def extracted(made: Made, frame: Frame, features: Float64, warming: Bool) -> Batch:
    """What an extractor made of a frame."""
    devices, codes = frame.by_device()
    return Batch(made, frame.partition, frame.offsets, frame.index, devices, codes, frame.times, warming, features)
