"""What a candidate wrote, read from its output topic after it is done: how many scores, when, and which.

The broker stamps every message with the time at which it was appended, so that nothing need be watched while a candidate
runs, and nothing takes processor time from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec
import numpy as np

from swapstream.models.errors import ClusterError
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.scores import decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment

QUIET_S = 6.0
"""Output is complete when it has not grown for this long, longer than any pause of a job that runs."""

Columns = tuple[Int64, Float64]
Read = Callable[[bytes], Columns]


class Output(msgspec.Struct, frozen=True):
    """All scores of a run in the order they were appended: `appended` [n] broker time in ms, `times` [n] event time in
    milliseconds (no two readings share one), `scores` [n]."""

    appended: Int64
    times: Int64
    scores: Float64

    def rate(self) -> float:
        """Records a second from the first append to the last; what the first append brought came before, so doesn't count."""
        first, last = int(self.appended[0]), int(self.appended[-1])
        return float((self.appended > first).sum() / ((last - first) / 1000)) if last > first else float("nan")

    def steady_rate(self) -> float:
        """The same over the second half of the records, when the JVM has compiled what is hot."""
        half = len(self.appended) // 2
        return Output(self.appended[half:], self.times[half:], self.scores[half:]).rate()

    def by_time(self) -> dict[int, float]:
        return dict(zip(self.times.tolist(), self.scores.tolist(), strict=True))


def frames(value: bytes) -> Columns:
    """A message of Swapstream's `scores`: many records."""
    frame = decode_scores(value)
    return frame.column("times") // 1000, np.frombuffer(frame.roles[0].scores, "<f8")


def single(value: bytes) -> Columns:
    """A message of the per-record job: (device, time, score, anomalous)."""
    _, when, score, _ = msgspec.msgpack.decode(value)
    return np.array([when]), np.array([score])


def ends(environment: Environment, topic: str, committed: bool = False) -> dict[int, int]:
    """Partition → end of the topic now."""
    with closing(kafka.consumer(environment, topic, read_committed=committed)) as client:
        return {partition.partition: end for partition, end in client.end_offsets(list(client.assignment())).items()}


def wait(environment: Environment, topic: str, start: dict[int, int], check: Callable[[], object], seconds: float) -> None:
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


def collect(environment: Environment, topic: str, start: dict[int, int], read: Read, expected: int) -> Output:
    """The committed output since `start`. Raises ClusterError unless it is `expected` records, each once."""
    parts = list(_parts(environment, topic, start, read))
    appended, times, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    if len(times) != expected or len(np.unique(times)) != expected:
        raise ClusterError(f"{len(times)} scores of {len(np.unique(times))} readings on {topic}, not {expected}")
    order = np.argsort(appended, kind="stable")
    return Output(appended[order], times[order], scores[order])


def _parts(environment: Environment, topic: str, start: dict[int, int], read: Read) -> Iterator[tuple[Int64, Int64, Float64]]:
    for record in kafka.read_to_end(environment, topic, start):
        assert record.value is not None
        times, scores = read(record.value)
        yield np.full(len(times), record.timestamp), times, scores
