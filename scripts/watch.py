"""A deployment's output, read as it comes: three topics, each on a thread of its own, into one tally."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from swapstream.models.errors import SwapstreamError
from swapstream.scripts import kafka
from swapstream.scripts.bounds import end_offsets
from swapstream.scripts.environment import Environment
from swapstream.scripts.tally import Tally


class Watch:
    """Reads from where the topics ended when it was made. A context manager: leaving it ends the threads.

    `tally` is written by one thread a topic and may be read at any time.
    """

    def __init__(self, environment: Environment, tally: Tally) -> None:
        topics = environment.topics
        self.tally = tally
        self._environment = environment
        self._error: SwapstreamError | None = None
        self._over = threading.Event()
        takers = {
            topics.scores.name: tally.take_scores,
            topics.dead_letters.name: tally.take_dead_letter,
            topics.anomalies.name: tally.take_anomaly,
        }
        self._threads = [
            threading.Thread(target=self._read, args=(topic, end_offsets(environment, topic), take), daemon=True)
            for topic, take in takers.items()
        ]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def check(self) -> None:
        """Raises what ended a thread before its time."""
        if self._error:
            raise self._error

    def _read(self, topic: str, start: dict[int, int], take: Callable[[bytes], None]) -> None:
        try:
            for record in kafka.follow(self._environment, topic, start):
                if record and record.value is not None:
                    take(record.value)
                if self._over.is_set():
                    return
        except SwapstreamError as error:
            self._error = error
