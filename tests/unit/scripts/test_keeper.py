"""The keeper, against a Flink that only remembers what it was told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Broker, Environment
from swapstream.scripts.keeper import Keeper
from swapstream.scripts.upgrade_progress import Progress, ProgressFile


class Flink:
    """States by job id, and the submissions."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.slots = 4
        self.away = self.refuses = False
        self.runs: list[tuple[str, str | None]] = []
        self.bundles: list[Path | None] = []
        self.left: list[bool] = []

    def states(self) -> dict[str, str]:
        if self.away:
            raise ClusterError("away")
        return self.known

    def state(self, job_id: str) -> str | None:
        return self.states().get(job_id)

    def free_slots(self) -> int:
        return self.slots

    def arguments(self, job: str, spec: Path, parallelism: int, job_id: str, restore: str | None,
                  bundle: Path | None, leave_sinks: bool) -> list[object]:
        self.bundles.append(bundle)
        self.left.append(leave_sinks)
        return [job_id, restore]

    def run(self, arguments: list[object]) -> None:
        self.runs.append(tuple(arguments))
        if self.refuses:
            raise ClusterError("flink run failed")
        self.known[arguments[0]] = "RUNNING"


class World:
    """One deployment, its keeper, and a clock that is set by hand."""

    def __init__(self, directory: Path) -> None:
        self.environment = Environment(directory=str(directory), broker=Broker(port=7777))
        self.flink, self.now, self.lines = Flink(), 0.0, []
        self.deployments = Deployments(self.environment)
        self.deployments.save(Deployment("prod", "pumps", "detect", 2).with_job("old"))
        JobSpec("detect", "prod", "pumps", "p", 0, "127.0.0.1:1", {}, 1, {0: 0}).write(self.deployments.spec("pumps"))
        self.flink.known["old"] = "RUNNING"
        self.keeper = Keeper(self.environment, self.flink, lambda: self.now, self.lines.append)

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.keeper.look()

    @property
    def deployment(self) -> Deployment:
        return self.deployments.require("pumps")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize("state", ["RUNNING", "RESTARTING", "CREATED", "INITIALIZING", "CANCELLING"])
def test_a_job_that_flink_looks_after_is_left_alone(world, state):
    world.flink.known["old"] = state
    world.look()
    assert world.flink.runs == []
    assert world.deployment.job_ids == ("old",)


@pytest.mark.parametrize("lost", [None, "FAILED"])
def test_a_lost_job_comes_back_from_its_newest_checkpoint(world, lost):
    checkpoint = world.environment.checkpoints / "old" / "chk-5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "_metadata").write_bytes(b"m")
    world.flink.known = {"old": lost} if lost else {}
    world.look()
    [(job_id, restore)] = world.flink.runs
    assert restore == checkpoint.as_uri()
    assert world.deployment.job_ids == ("old", job_id)
    world.look()
    assert len(world.flink.runs) == 1


def test_it_is_sent_with_its_bundle_again(world):
    world.deployments.save(msgspec.structs.replace(world.deployment, bundle="/b"))
    world.flink.known = {}
    world.look()
    assert world.flink.bundles == [Path("/b")]


def test_without_a_checkpoint_it_starts_where_it_started(world):
    world.flink.known = {}
    world.look()
    assert [restore for _, restore in world.flink.runs] == [None]


def test_it_waits_for_the_slots_of_the_old_tasks(world):
    world.flink.known, world.flink.slots = {}, 1
    world.look()
    assert world.flink.runs == []
    world.flink.slots = 2
    world.look()
    assert len(world.flink.runs) == 1


def test_a_jobmanager_that_is_away_is_waited_for(world):
    world.flink.away = True
    world.look()
    assert world.flink.runs == []
    world.flink.away, world.flink.known = False, {}
    world.look()
    assert len(world.flink.runs) == 1


def test_a_stopped_deployment_stays_stopped(world):
    world.deployments.save(world.deployment.stopped())
    world.flink.known = {}
    world.look()
    assert world.flink.runs == []


@pytest.mark.parametrize("ended", ["CANCELED", "FINISHED"])
def test_a_job_that_was_ended_in_flink_is_noted_as_stopped(world, ended):
    world.flink.known["old"] = ended
    world.look()
    assert world.deployment.desired == "stopped"
    world.flink.known = {}
    world.look()
    assert world.flink.runs == []


def test_failing_submissions_are_tried_ever_less_often_and_from_the_start_again_after_a_success(world):
    world.flink.known, world.flink.refuses = {}, True
    for _ in range(30):
        world.look()
    assert len(world.flink.runs) == 4  # after 0, 2, 6 and 14 seconds
    world.flink.refuses = False
    world.look(60)
    world.look()
    world.flink.known = {}
    world.look()
    world.flink.known = {}
    world.look(2)
    assert len(world.flink.runs) == 7


def test_it_names_the_broker_where_it_is_now(world):
    world.flink.known = {}
    world.look()
    assert JobSpec.read(world.deployments.spec("pumps")).bootstrap == "127.0.0.1:7777"


def test_it_says_a_thing_once(world):
    world.flink.away = True
    world.look()
    world.look()
    assert len(world.lines) == 1


def complete(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "_metadata").write_bytes(b"m")
    return path


def test_a_job_without_a_checkpoint_goes_on_from_what_it_was_submitted_with_and_never_from_an_earlier_submissions(world):
    complete(world.environment.checkpoints / "old" / "chk-5")
    world.deployments.save(world.deployment.submitted("new", "file:///savepoint-1"))
    world.flink.known = {}
    world.look()
    [(job_id, restore)] = world.flink.runs
    assert restore == "file:///savepoint-1"
    newest = complete(world.environment.checkpoints / job_id / "chk-6")
    world.flink.known = {}
    world.look(10)
    assert world.flink.runs[-1][1] == newest.as_uri()
    assert world.flink.left == [False, False]


def green_of(world: World) -> Deployment:
    return msgspec.structs.replace(world.deployment.submitted("green", "file:///savepoint-1"), green=True, generation=1)


def test_a_green_job_is_kept_alive_as_well_and_its_first_start_leaves_the_sinks_state_behind(world):
    world.deployments.save(green_of(world))
    JobSpec.read(world.deployments.spec("pumps")).write(world.deployments.spec("pumps", green=True))
    world.look()
    [(job_id, restore)] = world.flink.runs
    assert (restore, world.flink.left) == ("file:///savepoint-1", [True])
    assert world.deployments.require("pumps", green=True).job_ids == ("green", job_id)
    assert world.deployment.job_ids == ("old",)
    complete(world.environment.checkpoints / job_id / "chk-6")
    world.flink.known = {"old": "RUNNING"}
    world.look(10)
    assert world.flink.left == [True, False]


@pytest.mark.parametrize("hands_off", [True, False])
@pytest.mark.parametrize("state", [None, "FAILED", "FINISHED"])
def test_what_an_upgrade_decides_is_left_alone(world, hands_off, state):
    progress = Progress("prod", "pumps", "savepoint", "stop", "p", 1, "p", 0, 1, 0, "green", "old", 0, hands_off=hands_off)
    ProgressFile(world.deployments, "pumps").save(progress)
    world.flink.known = {"old": state} if state else {}
    before = world.deployment
    world.look()
    assert (world.deployment == before) is hands_off
