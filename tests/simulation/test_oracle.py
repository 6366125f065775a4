"""The oracle can fail: shards that break a contract are found out; and whatever can happen does."""

from __future__ import annotations

import pytest

from swapstream.operators.shard import Shard
from tests.simulation.broken import BROKEN
from tests.simulation.life import live_through
from tests.simulation.observed import rows_of
from tests.simulation.relay import Relay

SEEDS = 200
HAPPENS = {"activated token", "activated update", "activated arrival", "activated handover", "rejected", "holding", "released", "aborted",
           "prepared", "refused", "forked", "retired"}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_shard_is_caught(kind: type[Shard]) -> None:
    for seed in range(SEEDS):
        try:
            live_through(seed, kind)
        except AssertionError:
            return
    pytest.fail(f"none of {SEEDS} seeds noticed: {kind.__doc__}")


def test_whatever_can_happen_does() -> None:
    jobs = [life for seed in range(SEEDS // 2) for life in live_through(seed)]
    rows = [row for job in jobs for row in rows_of(job)]
    assert {f"{row['event']} {row.get('how') or ''}".strip() for row in rows} == HAPPENS
    assert {len(job.world.deployments) for job in jobs} == {1, 2}
    assert {job.world.signed for job in jobs} == {True, False}
    assert max(len(job.submitted) for job in jobs) > 1
    assert any(job.overflows for job in jobs)
    relays = [job for job in jobs if isinstance(job, Relay)]
    assert max(len(relay.jobs) for relay in relays) > 2
    assert any(relay.given_up for relay in relays)
