"""kill -9 right behind a swap: with exactly_once a read_committed reader sees every record once, under the plan that its offset implies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from swapstream.scripts.change import Change, Order
from swapstream.scripts.outcome import Outcome
from swapstream.scripts.publish import author_of, plan_parts

from .demo import FEATURES, PATH, messages, smoothed
from .killing import VICTIMS, once_each, scored
from .support import Stand, flowing, wait_until

pytestmark = pytest.mark.cluster

NAME, RATE, PARTITIONS = "kills", 2000, range(4)


@pytest.fixture(scope="module")
def stand(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    found = Stand(cluster, tmp_path_factory.mktemp(NAME), NAME)
    for version, name in enumerate(("first", *VICTIMS), 1):
        rows = np.random.default_rng(version).normal(size=(2000, len(FEATURES)))
        found.plan(name, PATH, smoothed(20), found.train("zscore", version, rows, FEATURES))
    found.run("submit", "detect", "--plan", found.directory / "first.yaml", "--delivery", "exactly_once")
    yield found
    found.cancel()


@pytest.mark.parametrize("victim", ["worker", "taskmanager", pytest.param("jobmanager", marks=pytest.mark.long)])
def test_every_record_once_whatever_is_killed(stand: Stand, victim: str) -> None:
    before = scored(stand)
    with flowing(stand, messages(), RATE) as enough:
        wait_until(lambda: scored(stand) > before + RATE, 120, "records are scored")
        process = VICTIMS[victim](stand)
        epoch = swap(stand, victim)
        process.kill()
        killed_at = scored(stand)
        wait_until(lambda: scored(stand) > killed_at + 4 * RATE, 240, f"records are scored again after the {victim}'s end")
        enough.set()
    assert not process.is_running(), "it is another process that went on"
    once_each(stand)
    agrees(stand, epoch)


def swap(stand: Stand, plan: str) -> int:
    """Begin a plan in every shard, without waiting for it; its epoch. The tokens are committed, and no checkpoint is behind them yet."""
    environment = stand.environment
    made, parts = plan_parts(environment, str(stand.directory / f"{plan}.yaml"))
    outcome = Outcome(f"prod/{NAME}", made.name, made.digest)
    Change(Order(environment, "prod", NAME, author_of(environment, plan), wait=False), made, outcome).run(parts)
    return int(outcome.rows[0]["epoch"])


def agrees(stand: Stand, epoch: int) -> None:
    """The plan took effect in every shard, and what came out is what the logs imply."""
    begun = {row["partition"] for row in stand.messages("ledger") if (row["event"], row.get("epoch")) == ("activated", epoch)}
    assert begun == set(PARTITIONS)
    assert max(frame.provenance.epoch for frame in stand.frames()) == epoch
    rows = stand.rows("verify", "--deployment", NAME)
    assert [(row["partition"], row["first"], row["held"]) for row in rows] == [(partition, None, None) for partition in PARTITIONS]
    stand.second_opinion()
