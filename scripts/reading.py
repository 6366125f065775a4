"""One topic read in turns: as far as it goes at some moment, and later further. What is read is never in memory all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

from swapstream.scripts import kafka
from swapstream.scripts.connecting import broker_errors
from swapstream.scripts.environment import Environment

AT_ONCE = 500
"""Messages of a poll: frames of scores can have half a megabyte each."""


class Reading:
    """Committed records of some partitions of a topic, from `start` on (see kafka.consumer). A context manager."""

    def __init__(
        self, environment: Environment, topic: str, start: kafka.Start, partitions: Collection[int] | None = None, most: int = AT_ONCE
    ) -> None:
        self._environment = environment
        self._client = kafka.consumer(environment, topic, start, partitions=partitions, most=most)
        self._found: deque[Any] = deque()
        self._ends: dict[Any, int] = {}
        self.extend()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def extend(self) -> None:
        """From now on the end is what it is now."""
        with broker_errors(self._environment):
            self._ends = dict(self._client.end_offsets(list(self._client.assignment())))

    def next(self) -> kafka.Record | None:
        """The next record, in offset order within each partition; None at the end."""
        self._fill()
        return kafka.record(self._found.popleft()) if self._found else None

    def some(self) -> list[Any]:
        """The next records, at most `most` of a partition, as Kafka's client has them: with a Record's fields. None at the end."""
        self._fill()
        found, self._found = list(self._found), deque()
        return found

    def _fill(self) -> None:
        """Have a record, unless this is the end."""
        while not self._found:
            with broker_errors(self._environment):
                waiting = [each for each, end in self._ends.items() if self._client.position(each) < end]
                if not waiting:
                    return
                self._client.pause(*(self._ends.keys() - waiting))
                self._client.resume(*waiting)
                for found in self._client.poll(timeout_ms=1_000).values():
                    self._found.extend(found)

    def close(self) -> None:
        self._client.close()
