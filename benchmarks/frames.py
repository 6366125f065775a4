"""Columnar messages: 500 readings of 8 values each, as raw little-endian columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from benchmarks.readings import FIELDS, Readings, values
from benchmarks.workload import START_MS, Message

READINGS = 500
GATEWAYS = 8
"""Two a partition: the keys g0 to g7 are spread evenly."""


class Frames(Readings):
    """A message holds the newest readings of a gateway's devices (`stateful`), or of one fast device (not `stateful`: then
    the features are the values alone, so that nothing is slower than moving and decoding)."""

    per_message = READINGS

    def __init__(self, stateful: bool) -> None:
        super().__init__(GATEWAYS * READINGS if stateful else GATEWAYS)
        self.stateful = stateful
        self.title = f"{READINGS} readings of {READINGS if stateful else 1} devices a message"
        if not stateful:
            self.extractor = ["identity"]

    @property
    def schema(self) -> dict[str, Any]:
        return {"name": "bench", "layout": "columnar", "device": "id", "time": "ts", "values": "v", "fields": list(FIELDS)}

    def messages(self, first: int, count: int) -> Iterator[Message]:
        columns = values(first, count).astype("<f8").reshape(-1, READINGS, len(FIELDS))
        times = np.arange(START_MS + first, START_MS + first + count, dtype="<i8").reshape(-1, READINGS)
        for number, (when, block) in enumerate(zip(times, columns, strict=True), first // READINGS):
            gateway = number % GATEWAYS
            message = {"id": self._ids(gateway), "ts": when.tobytes(), "v": block.tobytes()}
            yield f"g{gateway}", msgspec.msgpack.encode(message)

    def _ids(self, gateway: int) -> str | list[str]:
        if not self.stateful:
            return self.devices[gateway]
        return self.devices[gateway * READINGS : (gateway + 1) * READINGS]
