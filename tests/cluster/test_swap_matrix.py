"""A hundred swaps in a row, also of extractors, while workers, a TaskManager and the broker end and the job gets another parallelism."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from swapstream.models.errors import ClusterError
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.plan import Plan
from swapstream.scripts.change import Change, Order
from swapstream.scripts.outcome import Outcome
from swapstream.scripts.publish import Part, author_of, plan_parts

from .demo import PATH, SCHEMA, messages
from .killing import failed_commits, python_worker, supervised
from .support import Place, Stand, flowing, readings, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.long]

NAME, RATE, SWAPS, PARTITIONS = "matrix", 500, 100, range(4)
EXTRACTORS: dict[str, list[Any]] = {
    "smooth": ["identity", {"ewm": {"halflife": 5.0}}],
    "slower": ["identity", {"ewm": {"halflife": 9.0, "statistics": ["mean"]}}],
    "plain": ["identity"],
    "looking back": [{"rolling": {"n": 12, "statistics": ["mean", "max"]}}, "identity"],
}
PLANS = (("smooth", "zscore"), ("smooth", "pca"), ("slower", "zscore"), ("plain", "pca"), ("plain", "zscore"), ("looking back", "zscore"))


class Begun(NamedTuple):
    """A plan that took effect: by partition the offset of its token."""

    epoch: int
    model: str
    offsets: dict[int, int]


class Run:
    """A deployment under way. `happened`: what was done to it, before which swap."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.begun: list[Begun] = []
        self.happened: dict[int, str] = {}
        self.again = 0
        self.plans: list[tuple[Path, str, Plan, list[Part]]] = []

    def swap(self, number: int) -> None:
        """To another plan than before, run again while it is interrupted, as a person would."""
        path, model, plan, parts = self.plans[number % len(self.plans)]
        for _ in range(20):
            environment = self.stand.environment
            outcome = Outcome(f"prod/{NAME}", plan.name, plan.digest)
            try:
                Change(Order(environment, "prod", NAME, author_of(environment, f"swap {number}"), timeout=20.0), plan, outcome).run(parts)
            except ClusterError:
                self.again += 1
                time.sleep(1.0)
                continue
            rows = outcome.rows
            assert [row["event"] for row in rows] == ["activated"] * len(PARTITIONS), (path, rows)
            self.begun.append(Begun(rows[0]["epoch"], model, {row["partition"]: row["cut_offset"] for row in rows}))
            return
        raise AssertionError(f"swap {number} did not come to an end")

    def implied(self, place: Place) -> tuple[int, str]:
        """Epoch and champion of the record at a place: of the plans that began before it the newest."""
        partition, offset = place
        newest = max((one for one in self.begun if one.offsets[partition] < offset), key=lambda one: one.epoch, default=None)
        return (newest.epoch, newest.model) if newest else (0, f"{NAME}:1")


def kill_worker(stand: Stand) -> None:
    python_worker(stand).kill()


def kill_taskmanager(stand: Stand) -> None:
    supervised("taskmanager-1")(stand).kill()


def restart_broker(stand: Stand) -> None:
    """As on an ordinary day: it is told to end, and supervisord starts it again."""
    process: psutil.Process = supervised("broker")(stand)
    os.kill(process.pid, signal.SIGTERM)
    process.wait(60)


def rescale(stand: Stand) -> None:
    stand.run("cancel", NAME)
    stand.run("submit", "detect", "--plan", stand.directory / "plan-1.yaml", "--from", "latest", "--parallelism", "2")


HAPPENS: dict[int, Callable[[Stand], None]] = {20: kill_worker, 40: kill_taskmanager, 60: restart_broker, 80: rescale}


def features(extractor: str) -> tuple[str, ...]:
    return Composite.parse(EXTRACTORS[extractor], SCHEMA.names).features


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stand = Stand(cluster, tmp_path_factory.mktemp(NAME), NAME)
    found = Run(stand)
    for version, (extractor, kind) in enumerate(PLANS, 1):
        names = features(extractor)
        model = stand.train(kind, version, np.random.default_rng(version).normal(size=(1000, len(names))), names)
        path = stand.plan(f"plan-{version}", PATH, EXTRACTORS[extractor], model)
        found.plans.append((path, model, *plan_parts(stand.environment, str(path))))
    stand.run("submit", "detect", "--plan", found.plans[0][0], "--parallelism", "1", "--delivery", "exactly_once")
    with flowing(stand, messages(200), RATE) as enough:
        wait_until(lambda: len(stand.frames()) > 8, 90, "records are scored")
        for number in range(1, SWAPS + 1):
            if number in HAPPENS:
                harm(found, number, HAPPENS[number])
            found.swap(number)
        enough.set()
    yield found
    stand.cancel()


def harm(run: Run, number: int, what: Callable[[Stand], None]) -> None:
    """In the middle of the swap that comes next; a command that must be over before it, before it."""
    run.happened[number] = what.__name__
    if what is rescale:
        what(run.stand)
    else:
        threading.Timer(0.3, what, (run.stand,)).start()


def test_every_swap_took_effect_and_epochs_grow_one_by_one(run: Run) -> None:
    assert len(run.begun) == SWAPS
    assert list(run.happened.values()) == [what.__name__ for what in HAPPENS.values()]
    epochs = [one.epoch for one in run.begun]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] <= SWAPS + run.again


def test_each_record_is_answered_once(run: Run) -> None:
    answers = run.stand.settle(120)
    assert answers == Counter(readings(run.stand.telemetry()).keys())
    assert failed_commits(run.stand) == []


def test_every_record_is_scored_by_what_its_offset_implies(run: Run) -> None:
    wrong, seen = {}, set()
    for frame in run.stand.frames():
        for row in frame.rows():
            place, said = (row["partition"], row["offset"]), (row["epoch"], row["model"])
            seen.add(said)
            if said != run.implied(place):
                wrong[place] = said
    assert wrong == {}
    assert len({model for _, model in seen}) == len(PLANS)


def test_verify_finds_no_divergence(run: Run) -> None:
    rows = run.stand.rows("verify", "--deployment", NAME)
    assert [(row["partition"], row["first"], row["held"]) for row in rows] == [(partition, None, None) for partition in PARTITIONS]
    assert sum(row["records"] for row in rows) >= len(readings(run.stand.telemetry()))


def test_a_script_that_knows_only_wire_formats_agrees(run: Run) -> None:
    run.stand.second_opinion()
