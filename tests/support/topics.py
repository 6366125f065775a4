"""Topics in memory, in the place of scripts/kafka.py's clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from kafka.errors import ProducerFencedError

from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment


class Sent(msgspec.Struct, frozen=True):
    """What kafka-python gives for a record on its way; this one has arrived."""

    offset: int

    def get(self, timeout: float | None = None) -> Sent:
        return self


class Topics:
    """Records by topic. `committed` is called after each transaction with its records; what it writes comes after them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, partitions: int = 2) -> None:
        self.partitions = partitions
        self.records: dict[str, list[kafka.Record]] = {}
        self.owners: dict[str, Transactions] = {}
        self.committed: Callable[[list[tuple[str, kafka.Record]]], None] = lambda records: None
        monkeypatch.setattr(kafka, "read_to_end", self._read)
        monkeypatch.setattr(kafka, "follow", self._follow)
        monkeypatch.setattr(kafka, "Follower", Following(self))
        monkeypatch.setattr(kafka, "producer", lambda environment, **settings: self)
        monkeypatch.setattr(kafka, "transactional_producer", lambda environment, name, timeout: Transactions(self, name))

    def send(self, topic: str, key: bytes | None = None, value: bytes | None = None, partition: int = 0) -> Sent:
        record = self.record(topic, key, value, partition)
        self.records.setdefault(topic, []).append(record)
        return Sent(record.offset)

    def record(self, topic: str, key: bytes | None, value: bytes | None, partition: int, later: int = 0) -> kafka.Record:
        """The next record of a partition, behind `later` others that are on their way."""
        log = [record for record in self.records.get(topic, []) if record.partition == partition]
        return kafka.Record(partition, len(log) + later, 1_000, key, value)

    def flush(self) -> None:
        """Everything is written at once."""

    def close(self) -> None:
        """Nothing is open."""

    def _read(self, environment: Environment, topic: str, *_: Any, **__: Any) -> Iterator[kafka.Record]:
        return iter(list(self.records.get(topic, [])))

    def _follow(self, environment: Environment, topic: str, *_: Any, **__: Any) -> Iterator[kafka.Record | None]:
        yield from self.records.get(topic, [])
        while True:
            yield None


class Following:
    """Makes followers: of all there is ("earliest"), or of what comes after they were made."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def __call__(self, environment: Environment, topic: str, start: kafka.Start) -> Iterator[kafka.Record | None]:
        """A generator, which stands where it begins before its first record is asked for."""
        return self._from(topic, 0 if start == "earliest" else len(self._topics.records.get(topic, [])))

    def _from(self, topic: str, place: int) -> Iterator[kafka.Record | None]:
        while True:
            log = self._topics.records.get(topic, [])
            yield log[place] if place < len(log) else None
            place += place < len(log)


class Transactions:
    """A transactional producer; the newest one with a name fences the others."""

    def __init__(self, topics: Topics, name: str) -> None:
        self._topics, self._name = topics, name
        self._open: list[tuple[str, kafka.Record]] | None = None
        topics.owners[name] = self

    def partitions_for(self, topic: str) -> set[int]:
        return set(range(self._topics.partitions))

    def begin_transaction(self) -> None:
        assert self._open is None, "a transaction is open already"
        self._open = []

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int = 0) -> Sent:
        assert self._open is not None, "no transaction is open"
        later = sum((where, record.partition) == (topic, partition) for where, record in self._open)
        record = self._topics.record(topic, key, value, partition, later)
        self._open.append((topic, record))
        return Sent(record.offset)

    def flush(self) -> None:
        """What is sent has an offset."""

    def commit_transaction(self) -> None:
        if self._topics.owners[self._name] is not self:
            raise ProducerFencedError()
        written, self._open = self._open or [], None
        for topic, record in written:
            self._topics.records.setdefault(topic, []).append(record)
        self._topics.committed(written)

    def abort_transaction(self) -> None:
        self._open = None

    def close(self) -> None:
        """Nothing is left open."""
