"""Topics in memory, in the place of scripts/kafka.py's clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment


class Sent(msgspec.Struct, frozen=True):
    """What kafka-python gives for a record on its way; this one has arrived."""

    offset: int

    def get(self, timeout: float | None = None) -> Sent:
        return self


class Topics:
    """Records by topic; one partition each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records: dict[str, list[kafka.Record]] = {}
        monkeypatch.setattr(kafka, "read_to_end", self._read)
        monkeypatch.setattr(kafka, "follow", self._follow)
        monkeypatch.setattr(kafka, "producer", lambda environment, **settings: self)

    def send(self, topic: str, key: bytes | None = None, value: bytes | None = None) -> Sent:
        log = self.records.setdefault(topic, [])
        log.append(kafka.Record(0, len(log), 1_000, key, value))
        return Sent(len(log) - 1)

    def flush(self) -> None:
        """Everything is written at once."""

    def close(self) -> None:
        """Nothing is open."""

    def _read(self, environment: Environment, topic: str, *_: Any, **__: Any) -> Iterator[kafka.Record]:
        return iter(self.records.get(topic, []))

    def _follow(self, environment: Environment, topic: str, *_: Any, **__: Any) -> Iterator[kafka.Record | None]:
        yield from self.records.get(topic, [])
        while True:
            yield None
