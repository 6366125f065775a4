"""What the benchmark of upgrades counts, and the extractor whose code it changes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.drift.first.drift import Drift
from benchmarks.drift.later.drift import Drift as Later
from benchmarks.handing_over import Upgrade
from benchmarks.lineage import Life
from benchmarks.listener import Heard
from benchmarks.ordering import disorder
from benchmarks.upgrades_report import latencies
from swapstream.operators.extractors.contract import check
from tests.support.frames import scores_frame

FIELDS = ("x", "y")


@pytest.mark.parametrize("extractor", [Drift(), Drift(halflife=3), Later(), Later(halflife=3)], ids=str)
def test_both_versions_keep_the_contract(extractor: Drift | Later) -> None:
    check(extractor, FIELDS)


def test_the_later_version_goes_on_with_the_state_of_the_first() -> None:
    check(Later(), FIELDS, before=Drift())


def test_readings_behind_later_ones_are_counted() -> None:
    last: dict[int, int] = {}
    frames = map(scores_frame, ([0, 1, 5], [7, 6, 8], [8, 9], [3, 4]))
    assert [disorder(one, last) for one in frames] == [0, 1, 1, 1]


def test_readings_are_told_apart_by_what_was_under_way_when_they_were_due() -> None:
    upgrade = Upgrade(1, "p", 1, began=10_000.0, committed=20_000.0, ended=24_000.0, steps={}, shards=[])
    due = np.array([0.0, 5_000.0, 15_000.0, 19_400.0, 19_600.0, 20_400.0, 20_600.0, 23_000.0, 25_000.0])
    found = latencies(Heard(due, np.arange(9.0)), [upgrade], 1.0)
    assert [group["max"] for group in (found.alone, found.starting, found.around, found.retiring)] == [8.0, 3.0, 5.0, 7.0]
    assert found.around["p50"] == 4.5
    assert found.added == pytest.approx(found.around["p99"] - found.alone["p99"])
    assert found.each == [found.around["p99"]]


def test_a_replay_changes_the_plan_where_each_job_forked() -> None:
    life = Life(0, [(-1, "one"), (9, "two"), (19, "three")], 30)
    assert [life.plan(offset) for offset in (0, 9, 10, 19, 20, 29)] == ["one", "one", "two", "two", "three", "three"]
