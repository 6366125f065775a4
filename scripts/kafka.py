"""The one place where kafka-python's clients are configured, and where their errors become one line.

Every function that talks to the broker raises ClusterError when it is away or refuses, or when a topic is missing.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Literal, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailedError,
)

from swapstream.jobs.partitioner import partition_of
from swapstream.models.errors import ClusterError
from swapstream.scripts.environment import Environment

MAX_MESSAGE = 12 * 1024 * 1024
BOOTSTRAP_MS = 5_000
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


@contextmanager
def broker_errors(environment: Environment) -> Iterator[None]:
    """What kafka-python raises inside becomes ClusterError."""
    try:
        yield
    except AuthorizationError as error:
        raise ClusterError(f"broker at {environment.broker.servers}: {who(environment)} may not do that "
                           f"({type(error).__name__}); `swapstream doctor` names the rights that are missing") from error
    except (KafkaError, OSError) as error:
        # Exceptions with an empty text are common here; the name of the class then says what happened.
        raise ClusterError(f"broker at {environment.broker.servers}: {error or type(error).__name__}") from error


def settings(environment: Environment) -> dict[str, Any]:
    """What every client of the broker is made with. Raises InvalidSettings when a secret or a file is not where it should be."""
    return {"bootstrap_servers": environment.broker.servers, "bootstrap_timeout_ms": BOOTSTRAP_MS,
            **environment.broker.security.python()}


def connect(environment: Environment, client: Any, **more: Any) -> Any:
    """A client of kafka-python, connected. Raises ClusterError in words that tell what to do, InvalidSettings."""
    servers, configured, causes = environment.broker.servers, settings(environment), _Causes()
    try:
        _reach(servers, configured)
        with causes:
            return client(**configured, **more)
    except ssl.SSLError as error:
        raise ClusterError(f"broker at {servers}: TLS fails: {error}; see broker.security in the environment") from error
    except (KafkaError, OSError, ValueError) as error:
        raise ClusterError(_away(environment, error, causes.last)) from error


class _Causes(logging.Handler):
    """kafka-python tells of a refused password in its log alone, among time-outs, and raises a time-out. A context manager;
    `last` is the cause, the most telling one when it tried several times."""

    telling: tuple[type[BaseException], ...] = (SaslAuthenticationFailedError, KafkaConnectionError, BaseException)

    def __init__(self) -> None:
        super().__init__()
        self._found: list[BaseException] = []

    @property
    def last(self) -> BaseException | None:
        return next((one for kind in self.telling for one in reversed(self._found) if isinstance(one, kind)), None)

    def emit(self, record: logging.LogRecord) -> None:
        self._found += [part for part in record.args or () if isinstance(part, BaseException)]

    def __enter__(self) -> None:
        logging.getLogger("kafka.net").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka.net").removeHandler(self)


def who(environment: Environment) -> str:
    """The broker's user, in words."""
    security = environment.broker.security
    return f"user {security.username!r} ({security.mechanism})" if security.sasl else "this client"


def _away(environment: Environment, error: Exception, cause: BaseException | None) -> str:
    broker = environment.broker
    if isinstance(error, OSError) and not broker.bootstrap:
        return f"no broker at {broker.servers}; start one with `swapstream up`"
    if isinstance(error, OSError):
        return f"no broker at {broker.servers}: {error}"
    if isinstance(cause, SaslAuthenticationFailedError):
        return f"broker at {broker.servers} refuses {who(environment)}: {cause}"
    if broker.security.protocol == "SASL_SSL" and isinstance(cause, KafkaConnectionError):
        # Over TLS the connection can be gone before the broker's answer has been read.
        return (f"broker at {broker.servers} refuses {who(environment)}: it closed the connection during the login, as it does after a "
                "wrong name or password")
    return (f"what listens at {broker.servers} does not answer as a broker that speaks {broker.security.protocol}; "
            f"see broker.security in the environment ({cause or error or type(error).__name__})")


def _reach(servers: str, configured: Mapping[str, Any]) -> None:
    """kafka-python tries for the whole timeout where nobody listens or certificates don't fit, and then does not say why."""
    error: OSError | None = None
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=BOOTSTRAP_MS / 1000) as connection:
                if configured.get("security_protocol", "").endswith("SSL"):
                    _tls(configured).wrap_socket(connection, server_hostname=host.strip("[]")).close()
                return
        except OSError as failed:  # ssl.SSLError is one
            error = failed
    raise error or OSError(servers)


def _tls(configured: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configured.get("ssl_cafile"))
    context.check_hostname = configured["ssl_check_hostname"]
    if "ssl_certfile" in configured:
        context.load_cert_chain(configured["ssl_certfile"], configured["ssl_keyfile"], configured.get("ssl_password"))
    return context


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
