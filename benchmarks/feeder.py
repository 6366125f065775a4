"""A process that feeds telemetry while a job runs."""

from __future__ import annotations

import math
import time
from typing import Any

from benchmarks.beside import SPAWNED, Beside
from benchmarks.readings import Readings, values
from benchmarks.workload import IN_FLIGHT, producer
from swapstream.scripts.environment import Environment

POOL = 10_007
"""Rows of values, used in turn. A prime: with 10,000 each of 10,000 devices had one row for ever, of no deviation, an anomaly."""
NAP_S = 0.005
LINGER_MS = 5
"""With 1 ms the broker and every reader of telemetry work on thousands of requests a second, and latency is four times as long."""


class Timed(Readings):
    """The same readings, in microseconds: a reading's time is when it was due, so that being late counts as latency."""

    @property
    def schema(self) -> dict[str, Any]:
        return super().schema | {"time_unit": "us"}


class Feeder(Beside):
    """Feeds `total` readings of `devices` devices in turn, `rate` a second (infinite: as fast as it can), and no more than
    `allow` says."""

    def __init__(self, environment: Environment, devices: int, total: int, rate: float = math.inf) -> None:
        self._allowed = SPAWNED.Value("q", total)
        super().__init__(feed, environment, devices, total, rate, self._allowed)

    def allow(self, readings: int) -> None:
        """Go on until so many have been fed."""
        self._allowed.value = readings

    @property
    def fed(self) -> bool:
        """Whether all is written. Raises ChildProcessError when the process has failed."""
        if self.process.exitcode:
            raise ChildProcessError(f"the feeder ended with {self.process.exitcode}")
        return self.process.exitcode == 0


def feed(environment: Environment, devices: int, total: int, rate: float, allowed: Any) -> None:
    """What the process does."""
    workload, pool = Timed(devices), values(0, POOL).tolist()
    client, topic = producer(environment, LINGER_MS), environment.topics.telemetry.name
    step = 0.0 if math.isinf(rate) else 1e6 / rate
    began, number = time.time_ns() // 1000, 0
    while number < total:
        due = min(total, allowed.value, number + IN_FLIGHT if not step else int((time.time_ns() // 1000 - began) / step))
        for place in range(number, due):
            name, message = workload.message(place, began + int(place * step), pool[place % POOL])
            client.produce(topic, message, name.encode())
        number = max(number, due)
        while len(client) > IN_FLIGHT:
            client.poll(0.01)
        client.poll(0)
        time.sleep(NAP_S)
    client.flush()
