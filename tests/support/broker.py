"""A broker in memory behind kafka.consumer and kafka.producer: several partitions, offsets with holes, times, retention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from swapstream.models.errors import ClusterError
from swapstream.scripts import kafka
from tests.support.past import Past
from tests.support.topics import Sent


class Broker:
    """Topics with records; what reads them is the project's own code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.partitions: dict[str, int] = defaultdict(lambda: 1)
        self.logs: dict[tuple[str, int], list[kafka.Record]] = defaultdict(list)
        self.ends: dict[tuple[str, int], int] = {}
        self.beginnings: dict[tuple[str, int], int] = defaultdict(int)
        self.opened: list[tuple[str, Any]] = []
        self.refuses: str | None = None
        monkeypatch.setattr(kafka, "consumer", self._consumer)
        monkeypatch.setattr(kafka, "producer", lambda environment, **settings: self)
        monkeypatch.setattr(kafka, "partition_count", lambda environment, topic: self.partitions[topic])

    def append(self, topic: str, value: bytes | None, key: bytes | None = None, partition: int = 0, timestamp: int = 1_000,
               offset: int | None = None) -> int:  # fmt: skip
        """Returns the offset: the next one, unless it is given."""
        log = self.logs[topic, partition]
        place = offset if offset is not None else self.end(topic, partition)
        log.append(kafka.Record(partition, place, timestamp, key, value))
        self.partitions[topic] = max(self.partitions[topic], partition + 1)
        return place

    def end(self, topic: str, partition: int = 0) -> int:
        log = self.logs[topic, partition]
        return max(self.ends.get((topic, partition), 0), log[-1].offset + 1 if log else self.beginnings[topic, partition])

    def delete_before(self, topic: str, offset: int, partition: int = 0) -> None:
        """As retention does."""
        self.beginnings[topic, partition] = offset
        self.logs[topic, partition] = [record for record in self.logs[topic, partition] if record.offset >= offset]

    def live(self, past: Past, partition: int = 0) -> None:
        """Everything of a past: its telemetry, parameters, and what it put out, a second between messages."""
        for offset, payload in past.log:
            self.append("telemetry", payload, None, partition, 1_000 + offset, offset)
        self.ends["telemetry", partition] = past.end
        for value in past.parameters.records[self.end("parameters") :]:
            self.append("parameters", value)
        for number, emission in enumerate(past.emissions):
            self.append(emission.role.replace("_", "-"), emission.value, emission.key, partition, 1_000 + 1_000 * number)

    # -- a producer

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None, headers: Any = None, partition: int | None = None,
             timestamp_ms: int | None = None) -> Any:  # fmt: skip
        if self.refuses:
            raise ClusterError(self.refuses)
        offset = self.append(topic, value, key, partition or 0, timestamp_ms or 5_000)
        return Future(offset)

    def flush(self) -> None:
        """Everything is written at once."""

    def close(self, timeout: float | None = None) -> None:
        """Nothing is open."""

    def _consumer(self, environment: Any, topic: str, start: kafka.Start = "earliest", read_committed: bool = True,
                  partitions: Collection[int] | None = None, most: int = 5_000) -> Consumer:  # fmt: skip
        self.opened.append((topic, start))
        return Consumer(self, topic, start, partitions)


class Future(Sent, frozen=True):
    """What kafka-python gives for a record that has arrived."""

    def add_errback(self, *_: Any) -> Future:
        return self


class Consumer:
    """As much of a KafkaConsumer as scripts use."""

    def __init__(self, broker: Broker, topic: str, start: kafka.Start, partitions: Collection[int] | None) -> None:
        self._broker = broker
        self._all = [TopicPartition(topic, i) for i in range(broker.partitions[topic]) if partitions is None or i in partitions]
        self._paused: set[TopicPartition] = set()
        ends, beginnings = self.end_offsets(self._all), self.beginning_offsets(self._all)
        self._at = dict(ends if start == "latest" else beginnings)
        if isinstance(start, Mapping):
            self._at |= {each: max(beginnings[each], start[each.partition]) for each in self._all if each.partition in start}

    def assignment(self) -> set[TopicPartition]:
        return set(self._all)

    def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self._broker.end(each.topic, each.partition) for each in partitions}

    def beginning_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self._broker.beginnings[each.topic, each.partition] for each in partitions}

    def offsets_for_times(self, wanted: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        return {each: next((SimpleNamespace(offset=one.offset) for one in self._log(each) if one.timestamp >= time), None)
                for each, time in wanted.items()}

    def position(self, partition: TopicPartition) -> int:
        return self._at[partition]

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused -= set(partitions)

    def poll(self, timeout_ms: int = 0, max_records: int = 7) -> dict[TopicPartition, list[kafka.Record]]:
        found = {}
        for each in self._all:
            if each in self._paused:
                continue
            records = [record for record in self._log(each) if record.offset >= self._at[each]][:max_records]
            end = self._broker.end(each.topic, each.partition)
            self._at[each] = records[-1].offset + 1 if len(records) == max_records else end
            if records:
                found[each] = records
        return found

    def close(self) -> None:
        """Nothing is open."""

    def _log(self, partition: TopicPartition) -> list[kafka.Record]:
        return self._broker.logs[partition.topic, partition.partition]
