"""The work on one reading in plain Python, as fast as that goes: for 8 numbers numpy costs more than it gives."""

from __future__ import annotations

import gc
import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.rivals.job import Job

State = tuple[int, tuple[float, ...], tuple[float, ...]]
"""Readings so far, exponentially weighted mean and variance of each value."""


class Step:
    """(state or None, values) → (new state, score, anomalous). Features are the values and their mean and deviation before the
    reading, the score is the largest |z| of them. T. Finch, "Incremental calculation of weighted mean and variance", 2009."""

    def __init__(self, job: Job) -> None:
        self.width = len(job.mean) // 3
        self.moments = list(zip(job.mean, job.deviation, strict=True))
        self.alpha = 1.0 - 2.0 ** (-1.0 / job.halflife)
        self.nothing = (0.0,) * self.width
        self.threshold, self.warmup = job.threshold, job.warmup

    def __call__(self, state: State | None, values: tuple[float, ...]) -> tuple[State, float, bool]:
        # Lists, not generators, and zip unchecked: 6 µs instead of 7; map over C functions takes as long.
        count, mean, variance = state or (0, values, self.nothing)
        alpha, keep = self.alpha, 1.0 - self.alpha
        features = (*values, *mean, *map(math.sqrt, variance))
        score = max([abs(x - centre) / scale for x, (centre, scale) in zip(features, self.moments)])  # noqa: B905
        differences = [v - m for v, m in zip(values, mean)]  # noqa: B905
        after = (
            count + 1,
            tuple([m + alpha * d for m, d in zip(mean, differences)]),  # noqa: B905
            tuple([(s + d * (alpha * d)) * keep for s, d in zip(variance, differences)]),  # noqa: B905
        )
        return after, score, score > self.threshold and count >= self.warmup


class Packed:
    """A state as bytes, for state that is kept outside Python."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.struct = struct.Struct(f"<q{2 * width}d")

    def pack(self, state: State) -> bytes:
        return self.struct.pack(state[0], *state[1], *state[2])

    def unpack(self, data: bytes | None) -> State | None:
        if data is None:
            return None
        numbers = self.struct.unpack(data)
        return numbers[0], numbers[1 : 1 + self.width], numbers[1 + self.width :]


def decoder(width: int) -> Callable[[bytes], Any]:
    """A message to (id, ts, v)."""
    numbers: Any = tuple[(float,) * width]  # type: ignore[misc]
    return msgspec.msgpack.Decoder(msgspec.defstruct("Reading", [("id", str), ("ts", int), ("v", numbers)], gc=False)).decode


def key_decoder() -> Callable[[bytes], Any]:
    """A message to (id), everything else passed over."""
    return msgspec.msgpack.Decoder(msgspec.defstruct("Key", [("id", str)], gc=False)).decode


def quiet_collector() -> None:
    """What is loaded by now stays, and the rest is looked at seldom, as Swapstream's workers do."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def encoder() -> Callable[[tuple[str, int, float, bool]], bytes]:
    """(device, time, score, anomalous) to a message."""
    return msgspec.msgpack.Encoder().encode
