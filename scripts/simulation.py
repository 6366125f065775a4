"""Simulated devices: smooth, correlated, seeded telemetry with known faults. Pure: no clock, no Kafka.

All devices of a schema share one physics (base, scale and how the fields hang together follow from the fields' names, not
from the seed), so that a model trained on one simulation knows the devices of another. The seed draws phases, noise, faults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.labels import DeviceSpan, Label
from swapstream.scripts import faults
from swapstream.scripts.faults import Fault

PREFIX = "pump"
FACTORS = 3
BLOCK = 256
CYCLE = (400.0, 1_600.0)
"""Shortest and longest period of a factor, in readings of a device."""
PERSISTENCE = 0.9
WANDER, NOISE = 0.25, 0.1
"""Standard deviation of the slow part that all fields share and of each field's own noise, where the cycles have about 1."""


class Chunk(msgspec.Struct, frozen=True):
    """n consecutive readings: event times in microseconds, values float64[n, F], `faulty` bool[n]; the labels of the faults
    that begin here."""

    devices: list[str]
    times: Int64
    values: Float64
    faulty: Bool
    labels: list[Label]

    def __len__(self) -> int:
        return len(self.devices)


class Simulation:
    """`count` readings of `devices` devices in turn, each `period` microseconds after its last one.

    Equal arguments give equal bits, and a longer run begins with the shorter one but for faults cut at its end.
    """

    def __init__(self, names: Sequence[str], count: int, devices: int = 20, seed: int = 0, start: int = 0,
                 period: int = 1_000_000, kinds: Sequence[str] = faults.KINDS, fault_rate: float = 0.01,
                 prefix: str = PREFIX) -> None:
        self.names, self.count, self.start, self.period = tuple(names), count, start, period
        self.devices = [f"{prefix}-{i:03d}" for i in range(devices)]
        self._physics()
        self._phases = np.random.default_rng([seed, 1]).uniform(0, 2 * np.pi, (devices, FACTORS))
        self._wander, self._noise = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
        self._state = self._wander.normal(size=(devices, FACTORS))
        self._offsets = np.arange(devices) * period // devices
        self._plans = [faults.plan(kinds, fault_rate, len(self.names), [seed, 4, i]) for i in range(devices)]
        self._faults = [self._next(i) for i in range(devices)]
        self._held = [np.zeros(len(self.names))] * devices

    def _physics(self) -> None:
        seed = hashlib.sha256("\n".join(self.names).encode()).digest()
        rng = np.random.default_rng(list(seed))
        fields = len(self.names)
        self._cycles = rng.uniform(*CYCLE, FACTORS)
        self._loadings = rng.normal(size=(FACTORS, fields))
        self._loadings /= np.sqrt((self._loadings**2).sum(axis=0))
        self._base = rng.uniform(20, 120, fields)
        self._scale = self._base * rng.uniform(0.02, 0.08, fields)
        # A sine has variance 1/2, and the loadings of a field have length 1.
        self.deviations = self._scale * np.sqrt(0.5 + WANDER**2 + NOISE**2)

    def chunks(self) -> Iterator[Chunk]:
        """All readings, in order of time."""
        width = len(self.devices)
        for block in range(-(-self.count // (width * BLOCK))):
            yield self._chunk(block * BLOCK, min(self.count - block * BLOCK * width, BLOCK * width))

    def _chunk(self, at: int, rows: int) -> Chunk:
        values = self._healthy(at)
        faulty = np.zeros(values.shape[:2], np.bool_)
        labels = [label for i in range(len(self.devices)) for label in self._inject(i, at, values[:, i], faulty[:, i])]
        times = self.start + (at + np.arange(BLOCK))[:, None] * self.period + self._offsets
        names = self.devices * -(-rows // len(self.devices))
        return Chunk(names[:rows], times.reshape(-1)[:rows], values.reshape(-1, len(self.names))[:rows],
                     faulty.reshape(-1)[:rows], labels)

    def _healthy(self, at: int) -> Float64:
        """Readings at to at + BLOCK of every device, [BLOCK, devices, F]. Always a whole block: bits may depend on shapes."""
        steps = (at + np.arange(BLOCK))[:, None, None]
        shape = (BLOCK, len(self.devices))
        cycles = np.sin(2 * np.pi * steps / self._cycles + self._phases)
        drawn = self._wander.normal(size=(*shape, FACTORS)) * np.sqrt(1 - PERSISTENCE**2)
        wander = np.empty_like(drawn)
        for i in range(BLOCK):
            self._state = wander[i] = PERSISTENCE * self._state + drawn[i]
        noise = self._noise.normal(size=(*shape, len(self.names))) * NOISE
        mixed = np.einsum("sdk,kf->sdf", cycles + WANDER * wander, self._loadings)
        return np.asarray(self._base + self._scale * (mixed + noise))

    def _inject(self, i: int, at: int, values: Float64, faulty: Bool) -> Iterator[Label]:
        """Put device i's faults into its readings at to at + BLOCK; the labels of those that begin there."""
        healthy = values.copy()
        while (fault := self._faults[i]) and fault.first < at + BLOCK:
            if fault.first >= at:
                self._held[i] = healthy[fault.first - at]
                yield self._label(i, fault)
            faults.inject(fault, values, at, self.deviations, self._held[i])
            faulty[max(fault.first - at, 0):fault.last + 1 - at] = True
            if fault.last >= at + BLOCK:
                break
            self._faults[i] = self._next(i)

    def _next(self, i: int) -> Fault | None:
        """The device's next fault that begins in this run."""
        fault = next(self._plans[i], None)
        return fault if fault and fault.first < self._readings(i) else None

    def _readings(self, i: int) -> int:
        """How many readings the run has of device i."""
        return (self.count - i + len(self.devices) - 1) // len(self.devices)

    def _label(self, i: int, fault: Fault) -> Label:
        first, last = (int(self.start + reading * self.period + self._offsets[i])
                       for reading in (fault.first, min(fault.last, self._readings(i) - 1)))
        about = DeviceSpan(self.devices[i], first, last)
        return Label(about, True, fault.kind, tuple(self.names[field] for field in fault.fields))
