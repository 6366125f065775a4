"""An upgrade by savepoint on topics in memory and a Flink that only remembers: what is left where it ends, fails, or is killed, at
whatever step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, SwapstreamError
from swapstream.operators.cut import Cut
from swapstream.scripts import kafka, new_job, savepoint_upgrade, undoing, upgrading
from swapstream.scripts.controller import Controller
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.new_job import NewJob
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.savepoint_files import Shelf
from swapstream.scripts.savepoint_upgrade import SavepointUpgrade, abort_savepoint, resume_savepoint
from swapstream.scripts.steps import Steps
from swapstream.scripts.undoing import Undoing
from swapstream.scripts.upgrade_order import Settings
from swapstream.scripts.upgrade_progress import ProgressFile
from tests.support.deployed import ME, OTHER, PLAN, SHARDS, Deployed
from tests.support.flink import FakeFlink


class World(Deployed):
    """Its shards say on the ledger what real ones would."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(directory, patch)
        self.shelf, self.silent = Shelf(self.environment, "d"), False
        self.told: dict[str, JobSpec] = {}
        self.topics.committed = self.released
        self.flink.takes, self.flink.rest.stop = self.takes, self.stop  # type: ignore[method-assign]
        self.flink.rest.take_checkpoint = self.checkpoint  # type: ignore[method-assign]

    # -- what Flink and its jobs do

    def takes(self, job_id: str, restore: str | None) -> None:
        """A job that is to hold says so, and begins when it is released, or was before."""
        FakeFlink.takes(self.flink, job_id, restore)
        green = next(one.green for one in self.deployments.every() if one.job_id == job_id)
        told = self.told[job_id] = JobSpec.read(self.deployments.spec("d", green))
        if told.upgrade:
            self.say("restored", told)
            for cut in read_definitions(self.environment).arrivals("prod", "d"):
                self.begin_at(cut)

    def released(self, written: list[tuple[str, kafka.Record]]) -> None:
        if any(topic == self.environment.topics.parameters.name for topic, _ in written):
            for cut in read_definitions(self.environment).arrivals("prod", "d"):
                self.begin_at(cut)

    def begin_at(self, cut: Cut) -> None:
        for job_id, told in self.told.items():
            if self.flink.known.get(job_id) == "RUNNING" and told.upgrade and cut.epoch >= told.upgrade.epoch:
                self.say("activated", told, cut.epoch)

    def say(self, event: str, told: JobSpec, epoch: int = 0) -> None:
        for partition in () if self.silent else SHARDS:
            self.tell(event, partition, told.generation, epoch=epoch)

    def stop(self, job_id: str, directory: str | None = None, form: str = "CANONICAL") -> str:
        place = Path((directory or "").removeprefix("file://")) / "savepoint-1"
        place.mkdir(parents=True)
        (place / "_metadata").write_bytes(b"m")
        self.flink.rest.stops = {"location": place.as_uri()}
        self.flink.known[job_id] = "FINISHED"
        return "request"

    def checkpoint(self, job_id: str) -> str:
        path = self.environment.checkpoints / job_id / "chk-1"
        path.mkdir(parents=True, exist_ok=True)
        (path / "_metadata").write_bytes(b"m")
        return "checkpointing"

    def read_state(self, uri: str, telemetry: str) -> None:
        if not Path(uri.removeprefix("file://")).is_dir():
            raise ClusterError(f"{uri} can't be read as a savepoint or checkpoint")

    # -- what is done

    def begin(self, timeout: float = 5.0) -> dict[str, Any]:
        return savepoint_upgrade.savepoint_upgrade(self.order(timeout), Steps("prod.d"))

    def again(self, abort: bool = False) -> dict[str, Any]:
        progress = self.file.find()
        assert progress is not None
        return (abort_savepoint if abort else resume_savepoint)(self.order(0.5), Steps("prod.d"), progress)

    def killed_at(self, owner: Any, method: str, behind: bool, act: Callable[[], Any] | None = None) -> None:
        """The command is killed where this is called first, or when it returns."""
        self.kill(owner, method, behind, act or self.begin, (SavepointUpgrade, "_undo"))

    # -- what is so

    @property
    def now(self) -> Deployment:
        """The only record: one job of it runs, and nothing is left of an upgrade."""
        [found] = self.deployments.every()
        assert [job for job, state in self.flink.known.items() if state == "RUNNING"] == [found.job_id]
        assert found.desired == "running"
        names = [path.name for path in self.deployments.directory.glob("*")]
        assert [name for name in names if "green" in name or "restore" in name or name.endswith(".upgrade.json")] == []
        assert JobSpec.read(self.deployments.spec("d")).generation == found.generation
        return found

    @property
    def arrived(self) -> list[tuple[int, str]]:
        """Epoch and plan of each cut at arrival."""
        return [(cut.epoch, cut.plan) for cut in read_definitions(self.environment).arrivals("prod", "d")]

    def is_upgraded(self) -> None:
        found = self.now
        assert (found.generation, found.line) == (2, 0)
        assert self.arrived == [(1, PLAN.digest)]
        [saved] = self.shelf.every()
        assert (saved.stopped, saved.told.generation) == (True, 1)
        assert self.flink.runs[-1] == (found.job_id, saved.location)
        assert JobSpec.read(self.deployments.spec("d")).plan == PLAN.digest, "the plan of epoch 0 stays the deployment's"

    def is_undone(self) -> None:
        """By the job itself where it was not stopped, else by one from its savepoint; once released in an epoch of its own."""
        found = self.now
        if found.job_id != "old":
            assert self.flink.runs[-1] == (found.job_id, self.shelf.complete(self.savepoints[0]))
        assert found.generation in (1, 3)
        assert self.arrived == ([] if found.generation == 1 else [*self.arrived[:-1], (self.arrived[-1][0], PLAN.digest)])

    @property
    def savepoints(self) -> list[str]:
        return [path.name for path in (self.environment.path / "savepoints" / "prod.d").iterdir() if path.is_dir()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    monkeypatch.setattr(savepoint_upgrade, "job_operator", lambda _: made.flink)
    monkeypatch.setattr(savepoint_upgrade, "check", lambda *_: "it fits")
    monkeypatch.setattr(savepoint_upgrade, "behind_now", lambda *_: {})
    monkeypatch.setattr(savepoint_upgrade, "settle", lambda *_: "0 records behind")
    monkeypatch.setattr(savepoint_upgrade.OutputTimes, "last", lambda _: 1_000)
    monkeypatch.setattr(savepoint_upgrade.OutputTimes, "first_after", lambda _, when: when + 2_500)
    monkeypatch.setattr(undoing, "read_state", made.read_state)
    monkeypatch.setattr(new_job, "LOOK", 0.0)
    monkeypatch.setattr(undoing, "AWAY_S", 0.1)
    monkeypatch.setattr(upgrading, "offsets_at", lambda *_: "earliest")
    for module in (new_job, undoing):
        monkeypatch.setattr(module, "end_clients", lambda _: None)
    return made


def test_the_new_job_takes_over(world: World) -> None:
    told = world.begin()
    world.is_upgraded()
    assert (told["mode"], told["epoch"], told["generation"], told["downtime_s"]) == ("savepoint", 1, 2, 2.5)
    assert world.flink.known["old"] == "FINISHED"
    assert world.now.earlier == ("old",)


def no_flink_run(world: World) -> None:
    world.flink.refuses = "no extractor"
    real = Undoing._old_job

    def old_job(undoing: Undoing) -> str:
        world.flink.refuses = ""
        return real(undoing)

    world.patch.setattr(Undoing, "_old_job", old_job)


def no_savepoint(world: World) -> None:
    def stop(*_: Any) -> str:
        world.flink.rest.stops = {"failure-cause": {"stack-trace": "java.io.IOException: disk is full"}}
        return "request"

    world.flink.rest.stop = stop  # type: ignore[method-assign]


def silent_shards(world: World) -> None:
    world.silent = True


def crashes(world: World) -> None:
    world.silent = True
    real = world.flink.takes

    def takes(job_id: str, restore: str | None) -> None:
        real(job_id, restore)
        if world.told[job_id].upgrade:
            world.flink.rest.failures[job_id] = "swapstream.models.errors.InvalidPlan: no SITE"

    world.flink.takes = takes  # type: ignore[method-assign]


def swapped_meanwhile(world: World) -> None:
    def swap(*_: Any) -> dict:
        with Controller(world.environment, "prod", "d", ME) as controller:
            controller.swap(OTHER.digest)
        return {}

    world.patch.setattr(savepoint_upgrade, "check", swap)


def given_no_state(world: World) -> None:
    world.flink.rest.restored = None


def no_checkpoint(world: World) -> None:
    def take_checkpoint(job_id: str) -> str:
        raise ClusterError("Flink answers 500")

    world.flink.rest.take_checkpoint = take_checkpoint  # type: ignore[method-assign]


@pytest.mark.parametrize(("trouble", "said"), [
    (no_flink_run, "flink run failed: no extractor"),
    (no_savepoint, "job old could not be saved: java.io.IOException: disk is full"),
    (silent_shards, r"shards \[0, 1\] of the new job have not taken over their state in 0.5 s"),
    (crashes, "can't run: InvalidPlan: no SITE"),
    (swapped_meanwhile, "was at epoch 0 and is at 1 by now: somebody else changed its plan; run it again"),
    (given_no_state, "has begun without state"),
])  # fmt: skip
def test_what_goes_wrong_before_the_release_leaves_everything_as_it_was(world: World, trouble: Any, said: str) -> None:
    trouble(world)
    with pytest.raises((ClusterError, Conflict), match=said):
        world.begin(0.5)
    assert world.now.generation == 1
    assert world.arrived == []
    assert world.deployments.next_generation("d") == 3, "numbers are not used again"


def test_what_was_released_and_has_saved_nothing_is_taken_back(world: World) -> None:
    no_checkpoint(world)
    with pytest.raises(ClusterError, match="has completed no checkpoint"):
        world.begin(0.5)
    world.is_undone()
    assert world.now.generation == 3
    assert world.arrived == [(1, PLAN.digest), (2, PLAN.digest)]


UNRELEASED: list[tuple[Any, str, bool]] = [
    (SavepointUpgrade, "_prepare", False), (NewJob, "announce", False), (NewJob, "announce", True), (SavepointUpgrade, "_stop", False),
    (savepoint_upgrade, "stop_with_savepoint", False), (savepoint_upgrade, "stop_with_savepoint", True), (NewJob, "begin", False),
    (NewJob, "begin", True), (SavepointUpgrade, "_keep", True), (NewJob, "entered", False), (NewJob, "entered", True),
]  # fmt: skip
RELEASED: list[tuple[Any, str, bool]] = [
    (Controller, "arrive", False), (Controller, "arrive", True), (NewJob, "activated", False), (NewJob, "activated", True),
    (NewJob, "checkpointed", False),
]  # fmt: skip
SAVED: list[tuple[Any, str, bool]] = [
    (NewJob, "checkpointed", True), (Deployments, "promote", False), (Deployments, "promote", True), (ProgressFile, "remove", False),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "method", "behind"), [*UNRELEASED, *RELEASED, *SAVED])
def test_after_a_kill_the_same_command_finishes(world: World, owner: Any, method: str, behind: bool) -> None:
    world.killed_at(owner, method, behind)
    world.again()
    world.is_upgraded()


@pytest.mark.parametrize(("owner", "method", "behind"), [*UNRELEASED, *RELEASED])
def test_after_a_kill_before_its_first_checkpoint_it_can_be_undone(world: World, owner: Any, method: str, behind: bool) -> None:
    world.killed_at(owner, method, behind)
    assert world.again(abort=True)["undone"]
    world.is_undone()
    assert world.now.generation == (3 if (owner, method, behind) in RELEASED else 1)


@pytest.mark.parametrize(("owner", "method", "behind"), SAVED)
def test_behind_its_first_checkpoint_nothing_is_undone(world: World, owner: Any, method: str, behind: bool) -> None:
    world.killed_at(owner, method, behind)
    with pytest.raises(Conflict, match="has answered, and a checkpoint of it is complete"):
        world.again(abort=True)
    world.again()
    world.is_upgraded()


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(("owner", "method"), [
    (NewJob, "end"), (Undoing, "_submitted_again"), (FakeFlink, "run"), (Deployments, "drop_green"), (ProgressFile, "remove")])  # fmt: skip
@pytest.mark.parametrize("kill", [(NewJob, "entered", True), (Controller, "arrive", True)], ids=["unreleased", "released"])
def test_an_undoing_that_was_killed_is_finished_by_either_command(world: World, kill: Any, owner: Any, method: str, behind: bool) -> None:
    world.killed_at(*kill)
    world.killed_at(owner, method, behind, lambda: world.again(abort=True))
    if world.file.find():
        assert world.again()["undone"]
    world.is_undone()


def test_a_job_that_was_lost_behind_its_first_checkpoint_goes_on_from_there(world: World) -> None:
    """Its JobManager has died, and the keeper leaves the deployment to the upgrade."""
    world.killed_at(NewJob, "checkpointed", True)
    [job] = [job for job, told in world.told.items() if told.upgrade]
    del world.flink.known[job]
    no_checkpoint(world)
    with pytest.raises(ClusterError, match=r"has completed no checkpoint in 0.5 s.*a checkpoint of it is complete: that stays"):
        world.again()
    world.again()
    assert world.now.generation == 2
    assert world.flink.runs[-1] == (world.now.job_id, (world.environment.checkpoints / job / "chk-1").as_uri())


def test_a_promotion_that_was_interrupted_in_its_midst_is_finished(world: World) -> None:
    world.killed_at(Path, "unlink", False, lambda: world.killed_at(Deployments, "promote", False) or world.again())
    assert not world.deployments.spec("d", green=True).exists()
    world.again()
    world.is_upgraded()


def test_an_undoing_that_fails_says_both_reasons_and_what_to_run(world: World) -> None:
    silent_shards(world)
    real = FakeFlink.run
    world.patch.setattr(FakeFlink, "run", lambda *_: (_ for _ in ()).throw(ClusterError("no Flink")))
    with pytest.raises(ClusterError, match=r"have not taken over.*; undoing the upgrade failed: no Flink; run `swapstream .* --abort`"):
        world.begin(0.5)
    world.patch.setattr(FakeFlink, "run", real)
    assert world.again(abort=True)["undone"]
    world.is_undone()


def test_where_the_savepoint_is_lost_no_command_is_named_that_would_not_help(world: World) -> None:
    world.killed_at(NewJob, "announce", True)
    real = savepoint_upgrade.stop_with_savepoint

    def stop(*arguments: Any) -> str:
        found = real(*arguments)
        shutil.rmtree(found.removeprefix("file://"))
        world.flink.refuses = "FileNotFoundException"
        return found

    world.patch.setattr(savepoint_upgrade, "stop_with_savepoint", stop)
    with pytest.raises(ClusterError, match=r"can't be read .* neither job can go on from there, and prod.d is stopped: .* where it ended$"):
        world.again()
    [found] = world.deployments.every()
    assert (found.desired, world.file.find()) == ("stopped", None)
    assert "RUNNING" not in world.flink.known.values()


def test_without_slots_it_is_refused(world: World) -> None:
    world.flink.slots = 0
    world.deployments.save(msgspec.structs.replace(world.deployments.require("d"), parallelism=1))
    path = world.deployments.spec("d")
    msgspec.structs.replace(JobSpec.read(path), parallelism=1).write(path)
    order = msgspec.structs.replace(world.order(0.5), settings=Settings(parallelism=2))
    with pytest.raises(SwapstreamError, match=r"2 slots are needed and [01] of 4 are free"):
        savepoint_upgrade.savepoint_upgrade(order, Steps("prod.d"))
    assert world.now.job_id == "old"
