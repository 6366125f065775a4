"""What a candidate wrote, read from its output topic after it is done: how many scores, when, and which.

The broker stamps every message with the time at which it was appended, so that nothing need watch closely while a candidate
runs, and next to nothing takes processor time from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache

import msgspec
import numpy as np
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from numpy.typing import ArrayLike

from benchmarks.workload import ERRORS, PARTITIONS
from swapstream.models.errors import ClusterError
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.scores import decode_scores
from swapstream.scripts.environment import Environment

QUIET_S = 6.0
"""Output is complete when it has not grown for this long, longer than any pause of a job that runs."""
BATCH = 10_000

Columns = tuple[Int64, Float64]
Read = Callable[[bytes], Columns]
Offsets = dict[int, int]


class Output(msgspec.Struct, frozen=True):
    """All scores of a run in the order they were appended: `appended` [n] time in ms, `times` [n] event time in milliseconds
    (no two readings share one), `scores` [n]. `began`: when the candidate was ready to read, in ms, where that is known."""

    appended: Int64
    times: Int64
    scores: Float64
    began: int | None = None

    def __len__(self) -> int:
        return len(self.times)

    def rate(self) -> float:
        """Records a second until the last append: all of them since `began`, or else those after the first append."""
        first, last = int(self.appended[0]), int(self.appended[-1])
        if self.began is not None and self.began < first:
            return len(self) / ((last - self.began) / 1000)
        return float((self.appended > first).sum() / ((last - first) / 1000)) if last > first else float("nan")

    def steady_rate(self) -> float:
        """The same over the second half of the records, when the JVM has compiled what is hot."""
        half = len(self) // 2
        return Output(self.appended[half:], self.times[half:], self.scores[half:]).rate()

    def difference(self, other: Output) -> float:
        """The largest difference between scores of the same reading; infinite where both have none in common."""
        _, mine, theirs = np.intersect1d(self.times, other.times, assume_unique=True, return_indices=True)
        return float(np.abs(self.scores[mine] - other.scores[theirs]).max(initial=0.0)) if len(mine) else float("inf")


class Message(msgspec.Struct, frozen=True, gc=False):
    """`appended`: the broker's time in ms."""

    partition: int
    appended: int
    value: bytes


def frames(value: bytes) -> Columns:
    """A message of Swapstream's `scores`: many records."""
    frame = decode_scores(value)
    return frame.column("times") // 1000, np.frombuffer(frame.roles[0].scores, "<f8")


def single(value: bytes) -> Columns:
    """A message of a rival: (device, time, score, anomalous)."""
    _, when, score, _ = msgspec.msgpack.decode(value)
    return np.array([when]), np.array([score])


def ends(environment: Environment, topic: str, committed: bool = False) -> Offsets:
    """Partition → end of the topic now, for every reader or for one of committed messages alone."""
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(PARTITIONS)}
    client = admin(environment.broker.servers)
    while True:
        found = client.list_offsets(wanted, isolation_level=level, request_timeout=10)
        try:
            return {partition.partition: future.result().offset for partition, future in found.items()}
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            time.sleep(0.1)  # a topic that was made just now


@cache
def admin(servers: str) -> AdminClient:
    """One for all questions, since each has threads of its own."""
    return AdminClient({"bootstrap.servers": servers, "log_level": ERRORS})


def grown(environment: Environment, topic: str, start: Offsets) -> int:
    """Messages (transaction markers among them) since `start`."""
    return sum(ends(environment, topic).values()) - sum(start.values())


def wait(environment: Environment, topic: str, start: Offsets, check: Callable[[], object], seconds: float) -> None:
    """Return when output has begun, does not grow any more and is committed. Raises ClusterError, or what `check` raises."""
    deadline = time.monotonic() + seconds
    seen, since = start, time.monotonic()
    while seen == start or time.monotonic() - since < QUIET_S or ends(environment, topic, committed=True) != seen:
        if time.monotonic() > deadline:
            raise ClusterError(f"topic {topic} still grows after {seconds:.0f} s, or never began to")
        time.sleep(1.0)
        check()
        now = ends(environment, topic)
        if now != seen:
            seen, since = now, time.monotonic()


def collect(environment: Environment, topic: str, start: Offsets, read: Read, began: int | None = None) -> Output:
    """The committed output since `start`. Raises ClusterError when a reading is there twice, or none at all."""
    parts = [(np.full(len(columns[0]), message.appended), *columns)
             for message in messages(environment, topic, start) for columns in [read(message.value)]]
    if not parts:
        raise ClusterError(f"nothing came out on {topic}")
    appended, times, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    twice = len(times) - len(np.unique(times))
    if twice:
        raise ClusterError(f"{twice} of {len(times)} scores on {topic} are there twice")
    order = np.argsort(appended, kind="stable")
    return Output(appended[order], times[order], scores[order], began)


def messages(environment: Environment, topic: str, start: Offsets, committed: bool = True) -> Iterator[Message]:
    """What lies in the topic since `start`, in offset order within a partition."""
    with closing(reader(environment, topic, start, committed)) as consumer:
        left = set(start)
        while left:
            for message in consumer.consume(BATCH, 1.0):
                error = message.error()
                if error is None:
                    yield Message(message.partition(), message.timestamp()[1], message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
                else:
                    raise ClusterError(f"reading {topic}: {error}")


def reader(environment: Environment, topic: str, start: Offsets, committed: bool) -> Consumer:
    """A consumer that stands at `start` and says when it has reached the end of a partition."""
    consumer = Consumer({"bootstrap.servers": environment.broker.servers, "group.id": "bench", "enable.auto.commit": False,
                         "isolation.level": "read_committed" if committed else "read_uncommitted",
                         "enable.partition.eof": True, "log_level": ERRORS})
    consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in start.items()])
    return consumer


def percentiles(values: ArrayLike, each: Sequence[float] = (50, 99)) -> dict[str, float]:
    """p50, p99, …, and the largest; NaN of no values."""
    found = np.asarray(values, float)
    found = found if found.size else np.array([np.nan])
    return {**{f"p{one:g}": float(np.percentile(found, one)) for one in each}, "max": float(found.max())}
