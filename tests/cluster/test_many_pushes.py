"""10,000 definitions within a minute beside telemetry: the job stays up, answers every reading once, no partition falls silent, and
the last of the plans can be swapped to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.cluster import STAMPED
from benchmarks.pushes import NAME, Pusher, plan_in_force, swap_to_last
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.flink_rest import FlinkRest

from .demo import FEATURES, PATH, messages, smoothed
from .support import Stand, flowing, places, readings, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.long]

COUNT, SECONDS, RATE, PARTITIONS = 10_000, 60, 2_000, range(4)
SILENT_MS = 5_000
"""So long no partition's output may pause."""


class Out(NamedTuple):
    """A message of scores, committed or not, and when the broker appended it, in ms since the epoch."""

    appended: int
    frame: ScoresFrame


def out(stand: Stand) -> Iterator[Out]:
    for record in kafka.read_to_end(stand.environment, stand.environment.topics.scores.name, read_committed=False):
        yield Out(record.timestamp, decode_scores(record.value or b""))


def longest_pauses(found: list[Out], began: float, ended: float) -> dict[int, float]:
    """By partition, in ms, between two times."""
    longest = {}
    for partition in PARTITIONS:
        times = [one.appended for one in found if one.frame.provenance.partition == partition and began < one.appended < ended]
        longest[partition] = float(np.diff([began, *times, ended]).max())
    return longest


def latencies(found: list[Out], telemetry: dict[tuple[int, int], kafka.Record], began: float, ended: float) -> list[float]:
    """From a reading's sending to its score's appending, in ms, of those sent between two times."""
    sent = [(one.appended, telemetry[place].timestamp) for one in found for place in places(one.frame)]
    return [appended - at for appended, at in sent if began < at < ended]


def test_ten_thousand_definitions_in_a_minute(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, NAME, topics={"scores": {"config": STAMPED}})
    model = stand.train("zscore", 1, np.random.default_rng(3).normal(size=(2000, len(FEATURES))), FEATURES)
    [row] = stand.rows("submit", "detect", "--plan", stand.plan("plan", PATH, smoothed(20), model))
    environment, plan = stand.environment, plan_in_force(stand.environment)
    with flowing(stand, messages(200), RATE) as enough, Pusher(environment, plan, COUNT, SECONDS) as pusher:
        wait_until(lambda: len(stand.frames()) > 20, 90, "records are scored")
        pusher.made()
        began = time.time() * 1000
        seconds = pusher.push()
        pushed = time.time() * 1000
        prepare_ms, swap_ms = swap_to_last(environment, plan, COUNT)
        ended = time.time() * 1000
        enough.wait(2)
        enough.set()
    answers, telemetry, found = stand.settle(120), stand.telemetry(), list(out(stand))
    restarts = FlinkRest(environment.flink.url).restarts(row["job"])
    stand.cancel()
    pauses, waited = longest_pauses(found, began, ended), latencies(found, telemetry, began, pushed)
    print(f"{COUNT:,} definitions in {seconds:.1f} s beside {len(telemetry):,} records: p99 {np.percentile(waited, 99):.0f} ms")
    print(f"longest pauses {[round(pause) for pause in pauses.values()]} ms; swap: prepared in {prepare_ms:.0f} ms, took {swap_ms:.0f} ms")
    assert seconds < 1.5 * SECONDS
    assert restarts == 0
    assert answers == Counter(readings(telemetry).keys())
    assert max(pauses.values()) < SILENT_MS
    newest = {(row["epoch"], row["model"]) for one in found if one.frame.provenance.epoch for row in one.frame.rows()}
    assert newest == {(1, f"{NAME}:{1000 + COUNT // 2 - 1}")}
    assert {one.frame.provenance.partition for one in found if one.frame.provenance.epoch} == set(PARTITIONS)
