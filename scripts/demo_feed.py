"""The demo's telemetry: simulated devices with known faults, and some messages that can't be read, sent on a thread."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from swapstream.models.errors import SwapstreamError
from swapstream.models.schema import Schema, tick
from swapstream.operators.labels import DeviceSpan
from swapstream.scripts.environment import Environment
from swapstream.scripts.messages import Packer
from swapstream.scripts.simulate import Sent, Source, send
from swapstream.scripts.simulation import Simulation
from swapstream.scripts.summary import Span

DEVICES = 40
FAULT_RATE = 0.03
BAD_RATE = 0.001


class Feed:
    """Sends from entering the context on, in real time; leaving it stops sending.

    `spans` are all faults of the run, known beforehand. `sent` counts what was sent so far, unreadable messages included.
    """

    def __init__(self, environment: Environment, schema: Schema, seconds: float, rate: int, seed: int) -> None:
        count, start = round(seconds * rate), time.time_ns() // 1000
        period = round(DEVICES / rate * 1e6)
        settings = (schema.names, count, DEVICES, seed, start, period)
        bad = round(count * BAD_RATE)
        self.total = count + bad
        self.spans = [
            Span(*label.about, label.kind)
            for chunk in Simulation(*settings, fault_rate=FAULT_RATE).chunks()
            for label in (found.rounded(tick(schema)) for found in chunk.labels)
            if isinstance(label.about, DeviceSpan)
        ]
        source = Source(Simulation(*settings, fault_rate=FAULT_RATE), Packer(schema))
        self._steps = send([source], environment, 1.0, bad)
        self._error: SwapstreamError | None = None
        self._over = threading.Event()
        self._progress = Sent()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(timeout=10)

    @property
    def sent(self) -> int:
        return self._progress.sent + self._progress.bad

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def check(self) -> None:
        """Raises what ended the thread before its time."""
        if self._error:
            raise self._error

    def _send(self) -> None:
        try:
            for progress in self._steps:
                self._progress = progress
                if self._over.is_set():
                    return
        except SwapstreamError as error:
            self._error = error
