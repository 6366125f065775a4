"""kill -9 in the middle of a run: with exactly_once a read_committed reader sees every record once, and no commit failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .demo import FEATURES, PATH, messages, smoothed
from .killing import VICTIMS, once_each, scored
from .support import Stand, flowing, wait_until

pytestmark = pytest.mark.cluster

RATE = 2000


@pytest.fixture(scope="module")
def stand(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    found = Stand(cluster, tmp_path_factory.mktemp("kills"), "kills")
    model = found.train("zscore", 1, np.random.default_rng(1).normal(size=(2000, len(FEATURES))), FEATURES)
    plan = found.plan("plan", PATH, smoothed(20), model)
    found.run("submit", "detect", "--plan", plan, "--delivery", "exactly_once")
    yield found
    found.cancel()


@pytest.mark.parametrize("victim", ["worker", "taskmanager", pytest.param("jobmanager", marks=pytest.mark.long)])
def test_every_record_once_whatever_is_killed(stand: Stand, victim: str) -> None:
    before = scored(stand)
    with flowing(stand, messages(), RATE) as enough:
        wait_until(lambda: scored(stand) > before + RATE, 120, "records are scored")
        process = VICTIMS[victim](stand)
        process.kill()
        killed_at = scored(stand)
        wait_until(lambda: scored(stand) > killed_at + 4 * RATE, 240, f"records are scored again after the {victim}'s end")
        enough.set()
    assert not process.is_running(), "it is another process that went on"
    once_each(stand)
