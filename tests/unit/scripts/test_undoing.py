"""An upgrade that is given up: which job runs then, from which state, at whatever step that happened."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict
from swapstream.scripts import undoing
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author
from swapstream.scripts.steps import Steps
from swapstream.scripts.undoing import undo
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Progress, ProgressFile
from tests.support.flink import FakeFlink

BEGUN = Progress("prod", "pumps", "savepoint", "prepare", "new plan", 4, "old plan", 3, 7, 6, "new", "old", 1000, directory="s1")
STOPPED = BEGUN.at("start", hands_off=True, savepoint="file:///savepoint-1")


class World:
    """A deployment whose upgrade was interrupted."""

    def __init__(self, directory: Path) -> None:
        self.environment, self.flink = Environment(directory=str(directory)), FakeFlink()
        self.deployments = Deployments(self.environment)
        self.file = ProgressFile(self.deployments, "pumps")
        main = Deployment("prod", "pumps", "detect", 2, generation=6, generations=7).submitted("old", "file:///first")
        green = msgspec.structs.replace(main.submitted("new"), green=True, desired="stopped", earlier=(), generation=7)
        for record in (main, green):
            self.deployments.save(record)
            told = JobSpec("detect", "prod", "pumps", "p", 0, "b:1", {"telemetry": "t"}, 2, {}, generation=record.generation)
            told.write(self.deployments.spec("pumps", record.green))

    def undo(self, progress: Progress) -> dict:
        self.file.save(progress)
        order = UpgradeOrder(self.environment, "pumps", Author("me"), timeout=5.0)
        return undo(order, Steps("prod.pumps"), self.flink, progress)

    def checkpoint(self, job: str, when_ms: int) -> Path:
        path = self.environment.checkpoints / job / "chk-3"
        path.mkdir(parents=True)
        (path / "_metadata").write_bytes(b"m")
        os.utime(path / "_metadata", (when_ms / 1000, when_ms / 1000))
        return path

    @property
    def now(self) -> Deployment:
        """The only record that is left."""
        [found] = self.deployments.every()
        assert self.file.find() is None
        return found


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    monkeypatch.setattr(undoing, "read_state", lambda *_: None)
    return World(tmp_path)


def test_before_the_old_job_is_stopped_only_the_new_one_ends(world):
    world.flink.known = {"old": "RUNNING", "new": "RUNNING"}
    assert world.undo(BEGUN)["job"] == "old"
    assert (world.flink.known, world.flink.runs) == ({"old": "RUNNING", "new": "CANCELED"}, [])
    assert (world.now.job_ids, world.now.generation, world.now.desired) == (("old",), 6, "running")


def test_a_savepoint_that_was_asked_for_is_waited_for_and_a_job_that_runs_on_is_left_alone(world):
    world.flink.known, world.flink.rest.saving = {"old": "RUNNING"}, [True, True]
    world.undo(BEGUN.at("stop", hands_off=True))
    assert (world.flink.rest.saving, world.flink.runs, world.now.job_id) == ([], [], "old")


def test_the_old_job_goes_on_from_the_savepoint_that_it_ended_with_as_the_same_generation(world):
    world.flink.known = {"old": "FINISHED", "new": "RUNNING"}
    told = world.undo(STOPPED)
    [(job, restore)] = world.flink.runs
    assert (restore, world.flink.known[job], world.flink.known["new"]) == ("file:///savepoint-1", "RUNNING", "CANCELED")
    assert (told["job"], world.now.job_ids, world.now.earlier) == (job, (job,), ("old",))
    assert (world.now.origin, world.now.generation, world.now.generations) == ("file:///savepoint-1", 6, 7)
    assert JobSpec.read(world.deployments.spec("pumps")).generation == 6


def test_undoing_that_was_interrupted_starts_no_second_job(world):
    world.flink.known = {"old": "FINISHED"}
    world.undo(STOPPED)
    job = world.now.job_id
    world.undo(STOPPED.at("undo"))
    assert (len(world.flink.runs), world.now.job_id) == (1, job)
    del world.flink.known[job]
    world.undo(STOPPED.at("undo"))
    assert (len(world.flink.runs), world.flink.runs[1][1]) == (2, "file:///savepoint-1")
    assert (world.now.origin, world.flink.known[world.now.job_id]) == ("file:///savepoint-1", "RUNNING")


def test_a_job_that_was_lost_before_its_savepoint_goes_on_from_its_newest_checkpoint_or_where_it_came_from(world):
    world.undo(BEGUN.at("stop", hands_off=True))
    assert world.flink.runs[-1][1] == "file:///first"
    world.deployments.save(msgspec.structs.replace(world.now, job_ids=("old",)))
    newest = world.checkpoint("old", 5000)
    world.flink.known = {}
    world.undo(BEGUN.at("stop", hands_off=True))
    assert world.flink.runs[-1][1] == newest.as_uri()


def test_a_savepoint_that_nobody_wrote_down_is_found(world):
    path = world.environment.path / "savepoints" / "prod.pumps" / "s1" / "savepoint-x"
    path.mkdir(parents=True)
    (path / "_metadata").write_bytes(b"m")
    world.flink.known = {"old": "FINISHED"}
    world.undo(BEGUN.at("stop", hands_off=True))
    assert world.flink.runs[-1][1] == path.as_uri()


def test_a_checkpoint_that_is_newer_than_a_savepoint_that_nobody_wrote_down_counts(world):
    """The job was saved, did not end all the same, went on, and was lost then."""
    saved = world.environment.path / "savepoints" / "prod.pumps" / "s1" / "savepoint-old"
    saved.mkdir(parents=True)
    (saved / "_metadata").write_bytes(b"m")
    os.utime(saved / "_metadata", (8, 8))
    path = world.checkpoint("old", 9000)
    world.undo(BEGUN.at("stop", hands_off=True))
    assert world.flink.runs[-1][1] == path.as_uri()


def test_where_the_savepoint_is_gone_the_upgrade_is_over_and_it_is_said_how_to_go_on(world, monkeypatch):
    def read_state(uri: str, telemetry: str) -> None:
        raise ClusterError(f"{uri} is not whole: shards is missing")

    monkeypatch.setattr(undoing, "read_state", read_state)
    world.flink.known = {"old": "FINISHED"}
    with pytest.raises(ClusterError, match=r"savepoint-1 is not whole: shards is missing; neither job .* prod.pumps is stopped"):
        world.undo(STOPPED)
    assert (world.now.desired, world.flink.runs) == ("stopped", [])


def test_what_a_checkpoint_of_the_new_job_has_committed_stays(world):
    world.flink.known = {"old": "FINISHED", "new": "RUNNING"}
    world.checkpoint("new", 9000)
    with pytest.raises(Conflict, match="generation 7 has answered, and a checkpoint of it is complete: that stays"):
        world.undo(STOPPED.at("confirm", released=8000))
    assert (world.flink.known["new"], world.flink.runs, world.file.find().step) == ("RUNNING", [], "confirm")
    with pytest.raises(Conflict):
        world.undo(STOPPED.at("promote", released=8000))


def test_one_that_is_completed_in_its_last_moment_stays_as_well_and_the_new_job_goes_on_from_there(world):
    world.flink.known = {"old": "FINISHED", "new": "RUNNING"}
    cancel, made = world.flink.cancel, []

    def cancelling(job_id: str) -> None:
        made.append(world.checkpoint("new", 9000))
        cancel(job_id)

    world.flink.cancel = cancelling
    with pytest.raises(Conflict):
        world.undo(STOPPED.at("confirm", released=8000))
    [(job, restore)] = world.flink.runs
    assert (restore, world.file.find().step, world.file.find().job_id) == (made[0].as_uri(), "promote", job)
    assert world.deployments.find("pumps", green=True).job_ids == ("new", job)
