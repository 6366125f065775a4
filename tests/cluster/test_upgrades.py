"""Upgrades by savepoint under load: every record once, whoever is killed at whatever step, and what would not work is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from swapstream.scripts.deployments import Deployments
from swapstream.scripts.upgrade_progress import ProgressFile

from .demo import FEATURES, PATH, messages, smoothed
from .killing import VICTIMS, once_each
from .local import COMMAND
from .support import Stand, flowing, wait_until

pytestmark = pytest.mark.cluster

LOAD, RATE = 2000, 500
STEPS = ("prepare", "stop", "start", "release", "confirm")


class Upgraded(Stand):
    """A stand whose plans differ in their extractor's settings: the last of `plans` is the one in force."""

    def __init__(self, cluster: Path, directory: Path, name: str, **job: Any) -> None:
        super().__init__(cluster, directory, name, **job)
        model = self.train("zscore", 1, np.random.default_rng(1).normal(size=(2000, len(FEATURES))), FEATURES)
        self.plans = [self.plan(f"plan-{halflife}", PATH, smoothed(halflife), model) for halflife in (20, 30)]
        self.run("submit", "detect", "--plan", self.plans[-1])

    def next_plan(self) -> Path:
        self.plans.append(self.plans[-2])
        return self.plans[-1]

    @property
    def record(self) -> Any:
        return Deployments(self.environment).require(self.name)

    def upgrade(self, *options: str | Path, code: int = 0) -> dict[str, Any]:
        out = self.run("upgrade", self.name, *options, "--json", code=code)
        return json.loads(out) if out else {}

    def tried(self, *options: str | Path) -> bool:
        """Whether the command succeeded; what it is refused for is a conflict."""
        done = subprocess.run([COMMAND, "--env", str(self.path), "upgrade", self.name, *map(str, options)], check=False)
        assert done.returncode in (0, 4)
        return done.returncode == 0

    def kill_at(self, step: str, *options: str | Path) -> None:
        """Begin an upgrade, and kill -9 its command when it is at a step, or behind it."""
        command = subprocess.Popen([COMMAND, "--env", str(self.path), "upgrade", self.name, *map(str, options)])
        try:
            wait_until(lambda: self.at(step) or command.poll() is not None, 120, f"the upgrade is at its step {step}", 0.01)
            assert command.poll() is None
        finally:
            os.kill(command.pid, signal.SIGKILL)
            command.wait()

    def at(self, step: str) -> bool:
        found = ProgressFile(Deployments(self.environment), self.name).find()
        return found is not None and found.step in STEPS and STEPS.index(found.step) >= STEPS.index(step)


@pytest.fixture(scope="module")
def stand(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    found = Upgraded(cluster, tmp_path_factory.mktemp("upgrades"), "upgrades")
    yield found
    found.cancel()


def test_under_load_every_record_is_answered_once_and_the_downtime_is_told(stand: Upgraded) -> None:
    with flowing(stand, messages(), LOAD) as enough:
        stand.goes_on(LOAD)
        told = stand.upgrade("--mode", "savepoint", "--plan", stand.next_plan(), "--parallelism", "3", "--frame-ms", "50")
        stand.goes_on(2 * LOAD)
        enough.set()
    once_each(stand)
    assert (told["generation"], told["parallelism"], told["epoch"]) == (1, 3, 1)
    assert 0 < told["downtime_s"] < 60
    assert {frame.provenance.epoch for frame in stand.frames()} == {0, 1}
    [saved] = [row for row in stand.rows("savepoints", stand.name) if row["kind"].startswith("savepoint")]
    assert (saved["location"], saved["generation"], saved["stopped"]) == (told["savepoint"], 0, True)
    assert saved["extractor"] == "identity+ewm 1.1"
    assert stand.record.job_id == told["job"]


@pytest.mark.long
def test_a_command_that_is_killed_is_finished_by_running_it_again(stand: Upgraded) -> None:
    with flowing(stand, messages(), RATE) as enough:
        stand.kill_at("start", "--mode", "savepoint", "--plan", stand.next_plan())
        said = stand.run("cancel", stand.name, code=4)
        told = stand.upgrade()
        stand.goes_on(RATE)
        enough.set()
    assert said == ""
    once_each(stand)
    assert (stand.record.generation, stand.record.job_id) == (told["generation"], told["job"])
    assert [row["event"] for row in stand.messages("ledger") if row.get("generation") == told["generation"]].count("activated") == 4


@pytest.mark.parametrize(("options", "reason"), [
    (("--parallelism", "5"), "5 slots are needed"),
    (("--plan", "misfit"), "features"),
])  # fmt: skip
def test_what_would_not_work_is_refused_while_the_old_job_runs_on(stand: Upgraded, options: tuple[str, str], reason: str) -> None:
    misfit = stand.plan("misfit", PATH, ["identity"], f"{stand.name}:1")
    job = stand.record.job_id
    command = [COMMAND, "--env", str(stand.path), "upgrade", stand.name, "--mode", "savepoint", *options]
    done = subprocess.run([part if part != "misfit" else str(misfit) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert reason in done.stderr.splitlines()[-1]
    assert stand.record.job_id == job
    assert not stand.at("prepare")


@pytest.mark.long
@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_command_that_is_killed_at_any_step_is_finished_or_undone(stand: Upgraded, step: str, abort: bool) -> None:
    before = stand.record.generation
    with flowing(stand, messages(), RATE) as enough:
        stand.kill_at(step, "--mode", "savepoint", "--plan", stand.next_plan())
        undone = abort and stand.tried("--abort")
        if undone:
            stand.plans.append(stand.plans[-2])
        else:
            stand.upgrade()
        stand.goes_on(RATE)
        enough.set()
    once_each(stand)
    early = step in ("prepare", "stop", "start")
    assert undone or not (abort and early)
    assert (stand.record.generation == before) is (abort and early)


@pytest.mark.long
@pytest.mark.parametrize("step", ["release", "confirm"])
def test_what_was_released_is_taken_back_while_nothing_of_it_is_committed(cluster: Path, tmp_path: Path, step: str) -> None:
    """Checkpoints are so rare that none comes between the release and the abort."""
    stand = Upgraded(cluster, tmp_path, f"rare-{step}", checkpoint_ms=40_000)
    with flowing(stand, messages(), RATE) as enough:
        stand.goes_on(RATE)
        stand.kill_at(step, "--mode", "savepoint", "--plan", stand.next_plan())
        told = stand.upgrade("--abort")
        enough.set()
    once_each(stand)
    stand.cancel()
    assert told["undone"]
    assert (stand.record.generation, stand.record.generations) == (2, 2)
    epochs = {frame.provenance.epoch: frame.provenance.plan_digest for frame in stand.frames()}
    assert set(epochs) in ({0}, {0, 1}, {0, 2}), "it may have been killed before its cut was written"
    assert len(set(epochs.values())) == 1


def kill(stand: Stand, victim: str) -> None:
    """As soon as there is one: between two jobs there are no workers."""
    found: list[psutil.Process] = []

    def there() -> bool:
        with suppress(StopIteration, psutil.Error):
            found.append(VICTIMS[victim](stand))
        return bool(found)

    wait_until(there, 60, f"there is a {victim}", 0.02)
    found[0].kill()


@pytest.mark.long
@pytest.mark.parametrize("victim", ["worker", "taskmanager"])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_is_killed_at_any_step_every_record_is_answered_once(stand: Upgraded, step: str, victim: str) -> None:
    killed = threading.Thread(target=lambda: (wait_until(lambda: stand.at(step), 120, step, 0.01), kill(stand, victim)))
    with flowing(stand, messages(), RATE) as enough:
        killed.start()
        done = subprocess.run([COMMAND, "--env", str(stand.path), "upgrade", stand.name, "--mode", "savepoint", "--plan",
                               str(stand.next_plan())], capture_output=True, text=True, check=False)  # fmt: skip
        killed.join()
        if done.returncode:
            stand.plans.append(stand.plans[-2])
        time.sleep(1)
        stand.goes_on(RATE, done.stderr)
        enough.set()
    once_each(stand)
