"""A handover on topics in memory and a Flink that only remembers: what is left where it ends, fails, or is killed, at whatever step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, Rejected
from swapstream.models.numbers import numbers
from swapstream.operators.token import HANDOVER, PREPARE, Token
from swapstream.scripts import (
    catching_up,
    compatibility,
    handover,
    kafka,
    retiring,
    savepoints,
    stopping,
    succeeding,
    upgrading,
)
from swapstream.scripts.controller import Controller
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.green import Green
from swapstream.scripts.handover import Handover, abort_handover, handover_upgrade, resume_handover
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.savepoint_files import Shelf
from swapstream.scripts.steps import Steps
from swapstream.scripts.succeeding import Succession
from swapstream.scripts.updates import Updater
from tests.support.deployed import ME, OTHER, PLAN, SHARDS, Deployed, Killed
from tests.support.flink import FakeFlink


class World(Deployed):
    """Its shards answer on the ledger as soon as tokens are written."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(directory, patch)
        self.answer, self.retires, self.attempt = "prepared", True, 0
        self.topics.committed = self.shards_answer

    def shards_answer(self, written: list[tuple[str, kafka.Record]]) -> None:
        for topic, record in written:
            if topic == self.environment.topics.telemetry.name:
                token = Token.decode(record.value or b"")
                if token.kind == PREPARE and token.generation:
                    self.say(self.answer, record, token, token.generation)
                if token.kind == HANDOVER:
                    self.say("activated", record, token, token.generation)
                if token.kind == HANDOVER and self.retires:
                    self.say("retired", record, token, token.predecessor, job="old", attempt=self.attempt)

    def say(self, event: str, record: kafka.Record, token: Token, generation: int, **more: Any) -> None:
        if event:
            self.tell(event, record.partition, generation, offset=record.offset, epoch=token.epoch, plan=token.plan,
                      reason="golden", **more)  # fmt: skip

    # -- what is done

    def begin(self, timeout: float = 5.0) -> dict[str, Any]:
        return handover_upgrade(self.order(timeout), Steps("prod.d"))

    def again(self, abort: bool = False) -> dict[str, Any]:
        progress = self.file.find()
        assert progress is not None
        return (abort_handover if abort else resume_handover)(self.order(0.5), Steps("prod.d"), progress)

    def killed_at(self, owner: Any, method: str, behind: bool) -> None:
        """The command is killed where this is called first, or when it returns."""
        self.kill(owner, method, behind, self.begin, (Handover, "_give_up"))

    def swap(self) -> None:
        with Controller(self.environment, "prod", "d", ME) as controller:
            controller.swap(OTHER.digest)

    # -- what is so

    @property
    def states(self) -> dict[str, str]:
        """Of all Flink jobs; green ones by number."""
        green = (f"green {number}" for number in range(1, 9))
        return {name if name == "old" else next(green): state for name, state in self.flink.known.items()}

    @property
    def left(self) -> list[str]:
        """Files of an upgrade."""
        found = [path.name for path in self.deployments.directory.glob("*") if "green" in path.name or path.name.endswith(".upgrade.json")]
        return found + [saved.location for saved in Shelf(self.environment, "d").every()]

    def is_as_before(self) -> None:
        assert (self.deployments.require("d").job_ids, self.deployments.require("d").generation) == (("old",), 1)
        assert self.flink.known.pop("old") == "RUNNING"
        assert set(self.flink.known.values()) <= {"CANCELED"}
        assert self.left == []
        assert not [cut for cut in read_definitions(self.environment).cuts("prod", "d") if cut.handover]

    def is_handed_over(self, old: str = "FINISHED") -> None:
        found = self.deployments.require("d")
        told = JobSpec.read(self.deployments.spec("d"))
        assert (found.generation, found.line, told.generation, told.line, found.green) == (2, 2, 2, 2, False)
        assert (self.flink.known["old"], self.flink.known[found.job_id]) == (old, "RUNNING")
        assert list(self.flink.known.values()).count("RUNNING") == 1
        assert self.left == []
        [cut] = [cut for cut in read_definitions(self.environment).cuts("prod", "d") if cut.handover]
        assert (cut.predecessor, cut.successor, cut.plan) == (1, 2, PLAN.digest)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    monkeypatch.setattr(handover, "job_operator", lambda _: made.flink)
    monkeypatch.setattr(handover, "LOOK_AGAIN", 0.01)
    monkeypatch.setattr(savepoints, "FlinkRest", lambda _: made.flink.rest)
    monkeypatch.setattr(handover, "check", lambda *_: "it fits")
    monkeypatch.setattr(compatibility, "committed_offsets", lambda *_: {})
    monkeypatch.setattr(upgrading, "offsets_at", lambda *_: "earliest")
    monkeypatch.setattr(retiring, "uncommitted", lambda *_: [])
    monkeypatch.setattr(retiring, "BREATH_S", 0.0)
    monkeypatch.setattr(catching_up, "STEADY_S", 0.0)
    monkeypatch.setattr(catching_up, "ASK_AGAIN", 0.01)
    monkeypatch.setattr(catching_up, "end_offsets", lambda *_: {})
    monkeypatch.setattr(catching_up, "lags", lambda *_: {})
    monkeypatch.setattr(succeeding, "unanswered", lambda *_: {1: (3, 7)})
    for module in (handover, succeeding):
        monkeypatch.setattr(module, "abort_all", lambda *_: None)
    return made


def test_green_takes_over_and_blue_ends(world: World) -> None:
    told = world.begin()
    world.is_handed_over()
    assert (told["mode"], told["epoch"], told["generation"], told["predecessor"]) == ("handover", 1, 2, 1)
    shards = [(row["partition"], row["cut_offset"], row["retired_s"], row["activated_s"]) for row in told["shards"]]
    assert shards == [(0, 1, 0.0, 0.0), (1, 1, 0.0, 0.0)]
    assert world.deployments.require("d").earlier == ("old",)
    assert JobSpec.read(world.deployments.spec("d")).plan == PLAN.digest, "the plan of epoch 0 stays the deployment's"


def test_back_again_is_another_handover(world: World) -> None:
    world.begin()
    job = world.deployments.require("d").job_id
    world.say = lambda event, *rest, **more: World.say(world, event, *rest, **more | ({"job": job} if event == "retired" else {}))  # type: ignore[method-assign]
    assert world.begin()["generation"] == 3
    assert world.flink.known[job] == "FINISHED"
    assert [cut.successor for cut in read_definitions(world.environment).cuts("prod", "d")] == [2, 3]


def refused_shard(world: World) -> None:
    world.answer = "refused"


def silent_shards(world: World) -> None:
    world.answer = ""


def no_flink_run(world: World) -> None:
    world.flink.refuses = "no extractor"


def swapped_meanwhile(world: World) -> None:
    real = world.flink.rest.take_savepoint
    world.flink.rest.take_savepoint = lambda *given: (world.swap(), real(*given))[1]  # type: ignore[method-assign]


def pushed_meanwhile(world: World) -> None:
    real = world.flink.rest.take_savepoint

    def take_savepoint(*given: Any) -> Any:
        with Updater(world.environment, "d", speaker=ME) as updater:
            updater.push({name: array + 0.5 for name, array in numbers(updater.artifact).items()})
        return real(*given)

    world.flink.rest.take_savepoint = take_savepoint  # type: ignore[method-assign]


def taken_over_meanwhile(world: World) -> None:
    real = world.shards_answer

    def answer(written: list[tuple[str, kafka.Record]]) -> None:
        world.topics.committed = real
        Controller(world.environment, "prod", "d", ME).__enter__()
        real(written)

    world.topics.committed = answer


def blue_lost_before(world: World) -> None:
    real = catching_up.CatchingUp.wait

    def wait(*arguments: Any) -> Any:
        world.flink.known.pop("old", None)
        return real(*arguments)

    world.patch.setattr(catching_up.CatchingUp, "wait", wait)


def blue_is_back_after(world: World, looks: int) -> None:
    """Lost when green has caught up."""
    real, left = catching_up.CatchingUp.wait, [looks]

    def wait(*arguments: Any) -> Any:
        left[0] -= 1
        world.flink.known["old"] = "RESTARTING" if left[0] else "RUNNING"
        return real(*arguments)

    world.patch.setattr(catching_up.CatchingUp, "wait", wait)


@pytest.mark.parametrize(("trouble", "said"), [
    (refused_shard, "shard 0 of the new job refused the plan: golden"),
    (silent_shards, "the new job has not caught up in 0.5 s: it has read nothing yet"),
    (no_flink_run, "flink run failed: no extractor"),
    (swapped_meanwhile, r"prod.d: somebody else changed its plan \(epoch 1\) after the handover had begun from epoch 0, .* run it again"),
    (pushed_meanwhile, r"prod.d: a trainer pushed new numbers \(epoch 1\) after .* let trainers .* pause until its tokens are written"),
    (taken_over_meanwhile, r"prod.d: somebody else took over to change its plan after .* let trainers .* pause"),
])  # fmt: skip
def test_what_goes_wrong_before_the_tokens_leaves_everything_as_it_was(world: World, trouble: Any, said: str) -> None:
    trouble(world)
    with pytest.raises((Rejected, ClusterError, Conflict), match=said):
        world.begin(0.5)
    world.is_as_before()
    assert world.deployments.next_generation("d") == 3, "numbers are not used again"


def test_a_job_that_does_not_run_hands_nothing_over(world: World) -> None:
    blue_lost_before(world)
    with pytest.raises(ClusterError, match="only a job that runs can hand over"):
        world.begin(0.5)
    world.flink.known["old"] = "RUNNING"
    world.is_as_before()


def test_a_job_that_is_being_started_again_is_waited_for_and_so_is_green(world: World) -> None:
    blue_is_back_after(world, 3)
    world.begin()
    world.is_handed_over()


def test_jobs_of_earlier_releases_are_refused(world: World) -> None:
    path = world.deployments.spec("d")
    told = msgspec.json.decode(path.read_bytes())
    del told["generation"]
    path.write_bytes(msgspec.json.encode(told))
    with pytest.raises(Rejected, match="earlier release"):
        world.begin()
    world.is_as_before()


def test_a_job_that_flink_brings_back_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping.time, "sleep", lambda _: world.flink.known.update(old="RUNNING"))
    world.flink.known["old"] = "RESTARTING"
    world.begin()
    world.is_handed_over()


def test_one_that_does_not_come_back_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "RECOVERY_S", 0.0)
    world.flink.known["old"] = "RESTARTING"
    with pytest.raises(ClusterError, match=r"d does not run \(RESTARTING\)"):
        world.begin()


def test_without_slots_for_both_it_is_refused(world: World) -> None:
    world.flink.slots = 1
    with pytest.raises(ClusterError, match="2 slots are needed and 1 of 4 are free"):
        world.begin()
    world.is_as_before()


BEFORE: list[tuple[Any, str]] = [
    (Handover, "_save"), (Green, "start"), (FakeFlink, "run"), (catching_up.CatchingUp, "wait"), (Controller, "handover")]  # fmt: skip
BEHIND: list[tuple[Any, str]] = [
    (Controller, "handover"), (Succession, "_promote"), (Deployments, "promote"), (FakeFlink, "cancel"), (Shelf, "discard")]  # fmt: skip
KILLS = [*((*one, False) for one in BEFORE), *((*one, True) for one in BEFORE[:4])]
LATE_KILLS = [(*BEHIND[0], True), *((*one, False) for one in BEHIND[1:]), *((*one, True) for one in BEHIND[2:])]


@pytest.mark.parametrize(("owner", "method", "behind"), [*KILLS, *LATE_KILLS])
def test_after_a_kill_the_same_command_finishes(world: World, owner: Any, method: str, behind: bool) -> None:
    world.killed_at(owner, method, behind)
    for record in world.deployments.every():  # as the keeper would
        if record.green and record.desired == "running" and record.job_id not in world.flink.known:
            world.flink.takes(record.job_id, record.origin)
    world.again()
    world.is_handed_over()


@pytest.mark.parametrize(("owner", "method", "behind"), KILLS)
def test_after_a_kill_before_the_tokens_it_can_be_undone(world: World, owner: Any, method: str, behind: bool) -> None:
    world.killed_at(owner, method, behind)
    assert world.again(abort=True)["undone"]
    world.is_as_before()


def test_an_undoing_that_was_killed_is_finished_by_either_command(world: World) -> None:
    world.killed_at(catching_up.CatchingUp, "wait", False)
    real = Green.end

    def end(green: Green) -> None:
        world.patch.setattr(Green, "end", real)
        raise Killed

    world.patch.setattr(Green, "end", end)
    with pytest.raises(Killed):
        world.again(abort=True)
    assert world.again()["undone"]
    world.is_as_before()


def test_behind_the_tokens_nothing_is_undone(world: World) -> None:
    world.killed_at(Controller, "handover", True)
    with pytest.raises(Conflict, match="the tokens are written, and generation 2 answers behind them"):
        world.again(abort=True)
    world.again()
    world.is_handed_over()


def test_an_old_job_that_does_not_come_back_is_waited_for_and_then_given_up(world: World) -> None:
    world.retires = False
    world.killed_at(Controller, "handover", True)
    with pytest.raises(ClusterError, match=r"shards \[0, 1\] of prod.d have not handed over"):
        world.again()
    world.flink.known.pop("old")
    with pytest.raises(ClusterError, match=r"has not come back in .* s; nobody has answered telemetry-1: 3 to 7"):
        world.again()
    assert world.again(abort=True)["missing"] == {1: (3, 7)}
    world.flink.known["old"] = "CANCELED"
    world.is_handed_over(old="CANCELED")


def test_an_old_job_that_was_started_again_must_retire_again(world: World) -> None:
    world.killed_at(Controller, "handover", True)
    world.flink.rest.restarted["old"] = 1
    with pytest.raises(ClusterError, match="have not handed over, and committed what they wrote"):
        world.again()
    world.attempt = 1
    cut = read_definitions(world.environment).cuts("prod", "d")[0]
    token = Token(HANDOVER, "prod", "d", cut.epoch, cut.plan, cut.topic, 0, 0, "me", 0, "")
    for shard in SHARDS:
        world.say("retired", kafka.Record(shard, 9, 0, b"", b""), token, 1, job="old", attempt=1)
    world.again()
    world.is_handed_over()
