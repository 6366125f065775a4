"""The oracle can fail: shards that break a contract are found out."""

from __future__ import annotations

import pytest

from swapstream.operators.shard import Shard
from tests.simulation.broken import BROKEN
from tests.simulation.life import live_through

SEEDS = 200


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_shard_is_caught(kind: type[Shard]) -> None:
    for seed in range(SEEDS):
        try:
            live_through(seed, kind)
        except AssertionError:
            return
    pytest.fail(f"none of {SEEDS} seeds noticed: {kind.__doc__}")
