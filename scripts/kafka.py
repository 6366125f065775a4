"""The one place where kafka-python's clients are configured; their errors become one line (connecting.py).

Every function that talks to the broker raises ClusterError when it is away or refuses, or when a topic is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any, Literal, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from swapstream.jobs.partitioner import partition_of
from swapstream.models.errors import ClusterError
from swapstream.scripts.connecting import broker_errors, connect, who
from swapstream.scripts.environment import Environment

MAX_MESSAGE = 12 * 1024 * 1024
IN_FLIGHT = 50_000
SAMPLE = 500
QUIET: dict[str, Any] = {"allow_auto_create_topics": False, "metrics_enabled": False}

Start = Literal["earliest", "latest"] | Mapping[int, int]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies in Kafka; `timestamp` is Kafka's, in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def producer(environment: Environment, linger_ms: int = 20, compression: str | None = "lz4", **more: Any) -> Any:
    """An idempotent KafkaProducer with acks=all. Keys go to the partition that Java's clients choose (murmur2)."""
    return connect(environment, KafkaProducer, linger_ms=linger_ms, compression_type=compression, batch_size=256 * 1024,
                   max_request_size=MAX_MESSAGE, max_block_ms=10_000, **QUIET, **more)


def transactional_producer(environment: Environment, transactional_id: str, timeout_ms: int = 2_000) -> Any:
    """A KafkaProducer after `init_transactions`, which fenced every other one with this id and aborted what it left.

    The broker aborts a transaction that stays open for `timeout_ms`; until then readers of its topics are held back.
    """
    client = producer(environment, linger_ms=0, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
    with broker_errors(environment):
        client.init_transactions()
    return client


def partition_count(environment: Environment, topic: str) -> int:
    """How many partitions the topic has on the broker."""
    client = connect(environment, KafkaConsumer, group_id=None, **QUIET)
    try:
        return _partitions(environment, client, topic)
    finally:
        client.close()


def _partitions(environment: Environment, client: Any, topic: str) -> int:
    with broker_errors(environment):
        found = client.partitions_for_topic(topic)
    if not found:
        hidden = f", or {who(environment)} may not see it" if environment.broker.security.sasl else ""
        raise ClusterError(f"no topic {topic!r} at {environment.broker.servers}{hidden}; create it with `swapstream topics`")
    return len(found)


def consumer(environment: Environment, topic: str, start: Start = "earliest", read_committed: bool = True,
             partitions: Collection[int] | None = None, most: int = 5_000) -> Any:
    """A KafkaConsumer without a group, assigned to some partitions of the topic (None: to all) and standing at `start`: "earliest",
    "latest", or the first offset to read by partition (partitions not named start at "earliest"). `most` records come at once."""
    client = connect(environment, KafkaConsumer, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
                     isolation_level="read_committed" if read_committed else "read_uncommitted", max_poll_records=most,
                     max_partition_fetch_bytes=MAX_MESSAGE, fetch_max_wait_ms=100, **QUIET)
    try:
        there = range(_partitions(environment, client, topic))
        assigned = [TopicPartition(topic, i) for i in there if partitions is None or i in partitions]
        with broker_errors(environment):
            client.assign(assigned)
            _seek(client, assigned, start)
    except BaseException:
        client.close()
        raise
    return client


def _seek(client: Any, assigned: list[Any], start: Start) -> None:
    if start == "earliest":
        client.seek_to_beginning(*assigned)
    elif start == "latest":
        # Asked now: `seek_to_end` would look up the end at the first poll and miss what comes before it.
        for partition, offset in client.end_offsets(assigned).items():
            client.seek(partition, offset)
    else:
        client.seek_to_beginning(*assigned)
        for partition in assigned:
            if partition.partition in start:
                client.seek(partition, start[partition.partition])


def read_to_end(environment: Environment, topic: str, start: Start = "earliest",
                read_committed: bool = True) -> Iterator[Record]:
    """What the topic holds at the time of the call, in offset order within each partition, and then stops.

    The end of a read_committed reader is the first offset of the oldest open transaction.
    """
    client = consumer(environment, topic, start, read_committed)
    try:
        with broker_errors(environment):
            # A record is not always what lies before the end: transaction markers and aborted records count as well,
            # so the position decides, not the last record's offset.
            ends = client.end_offsets(list(client.assignment()))
            while waiting := [partition for partition, end in ends.items() if client.position(partition) < end]:
                client.pause(*(ends.keys() - waiting))
                for partition, found in client.poll(timeout_ms=1_000).items():
                    yield from (record(item) for item in found if item.offset < ends[partition])
    finally:
        client.close()


class Follower:
    """Every committed record of a topic from where it stood when this was made, without end; None twice a second while nothing
    arrives. `close` ends it."""

    def __init__(self, environment: Environment, topic: str, start: Start) -> None:
        self._environment, self._client = environment, consumer(environment, topic, start)
        self._arrived: deque[Record] = deque()

    def __iter__(self) -> Iterator[Record | None]:
        return self

    def __next__(self) -> Record | None:
        if not self._arrived:
            with broker_errors(self._environment):
                for found in self._client.poll(timeout_ms=500).values():
                    self._arrived.extend(map(record, found))
        return self._arrived.popleft() if self._arrived else None

    def close(self) -> None:
        self._client.close()


def follow(environment: Environment, topic: str, start: Start = "latest") -> Iterator[Record | None]:
    """Every committed record from `start` on, as it arrives, without end. None twice a second while nothing arrives."""
    with closing(Follower(environment, topic, start)) as records:
        yield from records


def record(item: Any) -> Record:
    """Of what kafka-python gives."""
    return Record(item.partition, item.offset, item.timestamp, item.key, item.value)


class Output:
    """Sends many messages to one topic and loses none silently: what failed is raised by a later `send` or the end.

    kafka-python's own buffer has no bound, so that a fast caller would fill the memory: `send` waits when about IN_FLIGHT
    messages are not acknowledged. A context manager; leaving it waits for every message.
    """

    def __init__(self, environment: Environment, topic: str, client: Any | None = None) -> None:
        self._environment, self._topic, self._owned = environment, topic, client is None
        self.partitions = partition_count(environment, topic)
        self._client: Any = client or producer(environment)
        self.sent = 0
        self._by_key: dict[bytes, int] = {}
        self._pending: deque[Any] = deque()
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            if self._owned:
                self._client.close(timeout=None if kind is None else 0)

    def send(self, key: bytes, value: bytes | None, timestamp_ms: int | None = None) -> None:
        """Queue a message for the key's partition."""
        partition = self._by_key.get(key)
        if partition is None:
            # murmur2 is pure Python: once a key, not once a message.
            partition = self._by_key[key] = partition_of(key, self.partitions)
        with broker_errors(self._environment):
            future = self._client.send(self._topic, value, key, None, partition, timestamp_ms)
        future.add_errback(self._failed)
        self.sent += 1
        if self.sent % SAMPLE == 0:
            self._pending.append(future)
            self._wait(IN_FLIGHT // SAMPLE)

    def flush(self) -> None:
        """Wait until every message is acknowledged. Raises ClusterError for the first that was not."""
        with broker_errors(self._environment):
            self._client.flush()
            self._wait(0)
            if self._error:
                raise self._error

    def _wait(self, most: int) -> None:
        with broker_errors(self._environment):
            while len(self._pending) > most:
                self._pending.popleft().get(timeout=60)
            if self._error:
                raise self._error

    def _failed(self, error: BaseException) -> None:
        self._error = self._error or error
