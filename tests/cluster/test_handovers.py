"""Handovers under load: each record is answered once, by the job and the extractor that its offset implies, whoever is killed meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swapstream.scripts.deployments import Deployments
from swapstream.scripts.upgrade_progress import ProgressFile

from .demo import PATH, messages
from .handing_over import (
    Cuts,
    Upgrading,
    again_until_done,
    at_the_moment,
    cuts_of,
    plans_of,
    refusal,
    workers,
    wrong,
)
from .killing import failed_commits, supervised
from .support import Stand, flowing, wait_until

pytestmark = pytest.mark.cluster

NAME = "handovers"
RATE = 2000
SHARDS = range(4)


class Run:
    """A deployment, its two plans, and what the commands told."""

    def __init__(self, stand: Stand) -> None:
        self.stand, self.plans, self.now = stand, plans_of(stand), 1
        self.first = str(stand.rows("submit", "detect", "--plan", self.plans[1])[0]["plan_digest"])
        self.told: list[dict[str, Any]] = []
        self.status: list[dict[str, Any]] = []
        self.refused: dict[str, str] = {}

    @property
    def other(self) -> tuple[str | Path, ...]:
        """The options of a handover to the plan that is not in force."""
        return "--mode", "handover", "--plan", self.plans[3 - self.now]

    @property
    def cuts(self) -> Cuts:
        return cuts_of(self.stand, self.first)

    def took(self, told: dict[str, Any]) -> None:
        self.told.append(told)
        self.now = 3 - self.now


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    found = Run(Stand(cluster, tmp_path_factory.mktemp(NAME), NAME))
    yield found
    if ProgressFile(Deployments(found.stand.environment), NAME).find():
        found.stand.run("upgrade", NAME, "--mode", "handover", "--abort")
    found.stand.cancel()


@pytest.fixture(scope="module")
def twice(run: Run) -> Run:
    """There and back; on the way back the old job's worker is killed when the tokens are written."""
    stand = run.stand
    with flowing(stand, messages(), RATE) as enough:
        wait_until(lambda: len(stand.frames()) > 20, 60, "records are scored")
        run.took(there(run))
        run.took(back(run))
        after = sum(map(len, stand.frames()))
        wait_until(lambda: sum(map(len, stand.frames())) > after + RATE, 60, "records are scored")
        enough.set()
    return run


def there(run: Run) -> dict[str, Any]:
    """While it runs nobody else upgrades or cancels; an unfit plan is refused before. Halted, so that it does not end meanwhile."""
    stand = run.stand
    unfit = stand.plan("unfit", PATH, ["identity"], f"{stand.name}:1")
    run.refused["unfit"] = refusal(stand, "upgrade", stand.name, "--mode", "handover", "--plan", unfit)
    with Upgrading(stand, *run.other) as upgrading:
        upgrading.wait_for("start")
        time.sleep(1.0)
        with upgrading.halted():
            run.refused["upgrade"] = refusal(stand, "upgrade", stand.name, *run.other)
            run.refused["cancel"] = refusal(stand, "cancel", stand.name)
            wait_until(lambda: both_know(run), 120, "status knows where green forked")
        return upgrading.finished()


def both_know(run: Run) -> bool:
    run.status = shards(run.stand)
    told = [row for row in run.status if row["behind_records"] is not None and (row["side"] == "blue" or row["said_by"])]
    return len(told) == 2 * len(SHARDS)


def back(run: Run) -> dict[str, Any]:
    wait_until(lambda: bool(workers(run.stand)), 60, "the job's workers run")
    old = workers(run.stand)
    with Upgrading(run.stand, *run.other) as upgrading:
        upgrading.wait_for("retire")
        (victim := sorted(old, key=lambda process: process.pid)[0]).kill()
        told = upgrading.finished()
    assert not victim.is_running()
    return told


def shards(stand: Stand) -> list[dict[str, Any]]:
    """What `status` says of this deployment's."""
    found = json.loads(stand.run("status", "--json"))
    return [row for row in found["shards"] if row["deployment"] == f"prod.{NAME}"]


# -- two handovers


def test_each_record_is_answered_once_by_what_its_offset_implies(twice: Run) -> None:
    assert wrong(twice.stand, twice.cuts) == []
    assert {frame.provenance.epoch for frame in twice.stand.frames()} == {0, 1, 2}
    assert sum(map(len, twice.stand.frames())) > 20 * RATE


def test_verify_computes_the_same_again_from_the_logs(twice: Run) -> None:
    rows = twice.stand.rows("verify", "--deployment", NAME)
    assert [(row["partition"], row["first"]) for row in rows] == [(partition, None) for partition in SHARDS]
    assert sum(row["scores"] for row in rows) == sum(map(len, twice.stand.frames()))


def test_no_commit_failed(twice: Run) -> None:
    assert failed_commits(twice.stand) == []


def test_the_cut_map_names_both_jobs(twice: Run) -> None:
    cuts = twice.cuts.cuts
    assert [(cut.epoch, cut.predecessor, cut.successor) for cut in cuts] == [
        (told["epoch"], told["predecessor"], told["generation"]) for told in twice.told]  # fmt: skip
    assert [cut.offsets for cut in cuts] == [{row["partition"]: row["cut_offset"] for row in told["shards"]} for told in twice.told]


def test_the_command_tells_what_each_step_and_each_shard_took(twice: Run) -> None:
    for told in twice.told:
        assert [step["seconds"] >= 0 for step in told["steps"]] == [True] * 7
        for row in told["shards"]:
            assert row["answered_s"] <= 1.0
            assert row["activated_s"] < 10
    assert all(row["retired_s"] < 10 for row in twice.told[0]["shards"])


def test_both_jobs_are_shown_while_both_run(twice: Run) -> None:
    found = [(row["side"], row["partition"], row["duty"]) for row in twice.status]
    assert found == [*(("blue", shard, "emit") for shard in SHARDS), *(("green", shard, "mute") for shard in SHARDS)]
    assert [(row["side"], row["duty"], row["epoch"]) for row in shards(twice.stand)] == [(None, "emit", 2)] * len(SHARDS)


def test_others_are_refused_in_one_line_meanwhile(twice: Run) -> None:
    assert "is under way already" in twice.refused["upgrade"]
    assert "is at its step 'start'" in twice.refused["cancel"]
    assert "features" in twice.refused["unfit"]


def test_nothing_is_left_of_an_upgrade(twice: Run) -> None:
    stand = twice.stand
    deployments = Deployments(stand.environment)
    found = deployments.require(NAME)
    assert found.generation == twice.told[-1]["generation"]
    assert deployments.find(NAME, green=True) is None
    assert [path.name for path in deployments.directory.glob(f"prod.{NAME}.*.json")] == [f"prod.{NAME}.spec.json"]
    assert [row for row in stand.rows("savepoints", NAME) if row["kind"].startswith("savepoint")] == []


# -- the whole matrix


@pytest.fixture
def settled(run: Run) -> Run:
    """All that is there is answered. What comes is looked at alone: the matrix would take ever longer."""
    run.stand.settle(120)
    run.stand.from_here()
    return run


def a_blue_worker(stand: Stand, old: set[Any]) -> Any:
    return sorted(old & workers(stand), key=lambda process: process.pid)[0]


def a_green_worker(stand: Stand, old: set[Any]) -> Any:
    """Before there is one, blue's."""
    return sorted(workers(stand) - old or old, key=lambda process: process.pid)[0]


VICTIMS: dict[str, Callable[[Stand, set[Any]], Any]] = {
    "blue's worker": a_blue_worker,
    "green's worker": a_green_worker,
    "taskmanager": lambda stand, _: supervised("taskmanager-1")(stand),
}
MOMENTS = ("savepoint", "start", "catch up", "retire", "after")


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", list(VICTIMS))
def test_whoever_is_killed_at_whatever_step(settled: Run, victim: str, moment: str) -> None:
    run, stand = settled, settled.stand
    if (victim, moment) == ("blue's worker", "after"):
        pytest.skip("it has none any more")
    with flowing(stand, messages(), RATE) as enough:
        old = workers(stand)
        with Upgrading(stand, *run.other) as upgrading:
            at_the_moment(moment, upgrading, lambda: VICTIMS[victim](stand, old).kill())
            run.took(again_until_done(stand, upgrading, *run.other))
        goes_on(stand)
        enough.set()
    assert wrong(stand, run.cuts) == []
    assert failed_commits(stand) == []


@pytest.mark.long
@pytest.mark.parametrize("abort", [False, True], ids=["again", "abort"])
@pytest.mark.parametrize("moment", ["savepoint", "start", "catch up", "token", "retire", "promote"])
def test_a_command_that_is_killed_is_finished_or_undone(settled: Run, moment: str, abort: bool) -> None:
    run, stand, generation = settled, settled.stand, Deployments(settled.stand.environment).require(NAME).generation
    with flowing(stand, messages(), RATE) as enough:
        with Upgrading(stand, *run.other) as upgrading:
            upgrading.wait_for(moment)
        handed_over = any(cut.predecessor == generation for cut in run.cuts.cuts)
        if abort and not handed_over:
            assert stand.rows("upgrade", NAME, "--abort")[0]["undone"]
            assert Deployments(stand.environment).require(NAME).generation == generation
        elif abort and moment == "promote":  # the old job has nothing left to do, whether it still runs or not
            run.took(stand.rows("upgrade", NAME, "--abort")[0])
        else:
            if abort:
                assert "answers behind them" in refusal(stand, "upgrade", NAME, "--abort")
            run.took(stand.rows("upgrade", NAME)[0])
        goes_on(stand)
        enough.set()
    assert wrong(stand, run.cuts) == []
    assert len(workers(stand)) == 2, "no job is left over"


def goes_on(stand: Stand) -> None:
    before = sum(map(len, stand.frames()))
    wait_until(lambda: sum(map(len, stand.frames())) > before + RATE, 240, "records are scored")
