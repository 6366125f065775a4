"""A job that goes on from a savepoint of one that was stopped: it holds all input until a cut at arrival lets it begin."""

from __future__ import annotations

from typing import Any

import pytest

from swapstream.models.errors import InvalidPlan, OutOfOrder
from swapstream.operators.assignment import Upgrade
from swapstream.operators.update import Update
from tests.support.jobs import BLUE, GREEN, Job, answered, green_of
from tests.support.sent import events, ledger
from tests.support.shards import EWM, Parameters, Stored, deployable, frame, parameters_of, token
from tests.unit.operators.test_handover import NEW, OLD, THIRD, blue_of, pumps

WAKING = {"kind": "prepare", "generation": GREEN}


def stopped(epoch: int = 0) -> Job:
    """Under plan "old", in this epoch; it has answered offsets 0 to 5."""
    blue = blue_of() if not epoch else Job(parameters_of(OLD, NEW, THIRD), OLD.digest, BLUE)
    if epoch:
        blue.take(frame([token(epoch, OLD.digest, blue.parameters.end), *pumps(5, 1)]))
    return blue


def upgraded(blue: Job, epoch: int = 1, state: Stored | None = None, **changed: Any) -> Job:
    return green_of(blue, NEW.digest, state=state, **{"upgrade": Upgrade("savepoint", NEW.digest, epoch), **changed})


def release(job: Job, epoch: int = 1, plan: str = NEW.digest) -> None:
    job.parameters.cut(epoch, plan, {}, arrival=True)


def test_it_holds_until_it_is_released_and_begins_at_the_first_held_record() -> None:
    blue = stopped()
    green = upgraded(blue)
    end = blue.parameters.end
    out = green.take(frame([token(1, NEW.digest, end, **WAKING), *pumps(3, 7)], first=6))
    (row,) = ledger(out)
    assert (row["event"], row["offset"], row["epoch"], row["plan"], row["generation"]) == ("restored", 5, 1, NEW.digest, GREEN)
    assert [one.role for one in out] == ["ledger"]
    assert green.take(frame(pumps(2, 10), first=10)) == []
    assert green.read() == []
    release(green)
    assert [(row["event"], row["how"], row["offset"], row["epoch"]) for row in ledger(green.read())] == [("activated", "arrival", 6, 1)]
    green.take(frame(pumps(2, 12), first=12))
    assert answered(blue.out, green.out)[6:] == [(n, "new", 1) for n in range(7, 14)]


@pytest.mark.parametrize("began", [True, False], ids=["migrated", "unread"])
def test_it_holds_over_a_restart(began: bool) -> None:
    blue = stopped()
    known = blue.parameters.publish(deployable("another"))
    green = upgraded(blue, read=known - (not began))
    green.take(frame(pumps(2, 6), first=6))
    again = green.restarted()
    assert again.take(frame(pumps(2, 8), first=8)) == []
    assert events(again.read()) == ([] if began else ["restored"])
    release(again)
    third = again.restarted()
    third.take(frame(pumps(2, 10), first=10))
    third.read()
    assert answered(blue.out, third.out)[6:] == [(n, "new", 1) for n in range(6, 12)]


def test_the_same_job_is_restarted_from_the_savepoint_after_the_release() -> None:
    blue = stopped()
    savepoint = blue.state.copy()
    release(upgraded(blue, state=savepoint))
    green = upgraded(blue, state=savepoint, end=blue.parameters.end)
    out = green.take(frame(pumps(3, 6), first=6))
    assert events(out) == ["activated"]
    assert answered(blue.out, out)[6:] == [(n, "new", 1) for n in range(6, 9)]


def test_tokens_in_what_is_held_count_behind_the_release_only() -> None:
    blue = stopped(epoch=1)
    end = blue.parameters.end
    green = upgraded(blue, epoch=3)
    green.take(frame([token(2, THIRD.digest, end), *pumps(2, 7), token(4, THIRD.digest, end), *pumps(1, 10)], first=6))
    assert green.shard.scoring.epoch == 1
    release(green, 3)
    assert events(green.read()) == ["activated", "rejected", "activated"]
    assert answered(blue.out, green.out)[5:] == [(7, "new", 3), (8, "new", 3), (10, "third", 4)]


def test_another_arrival_is_no_release() -> None:
    """Somebody rolled back meanwhile: that is an epoch of its own, and not what the upgrade waits for."""
    blue = stopped()
    green = upgraded(blue)
    release(green, 1, THIRD.digest)
    green.take(frame(pumps(2, 6), first=6))
    green.read()
    assert green.shard.holding
    release(green, 2)
    green.read()
    assert answered(blue.out, green.out)[6:] == [(6, "new", 2), (7, "new", 2)]


def test_a_swap_that_came_between_the_order_and_the_stop_begins_nothing_either() -> None:
    blue = stopped(epoch=1)
    green = upgraded(blue, epoch=1)
    green.take(frame(pumps(2, 6), first=6))
    assert green.shard.holding
    release(green, 2)
    green.read()
    assert answered(blue.out, green.out)[5:] == [(6, "new", 2), (7, "new", 2)]


def test_what_came_after_the_release_is_followed_at_once() -> None:
    blue = stopped()
    green = upgraded(blue)
    release(green)
    release(green, 2, THIRD.digest)
    green.parameters.read(green.worker.definitions)
    green.take(frame(pumps(2, 6), first=6))
    assert answered(blue.out, green.out)[6:] == [(6, "third", 2), (7, "third", 2)]


def test_a_shard_without_state_is_woken_holds_and_begins() -> None:
    parameters = parameters_of(OLD, NEW)
    green = upgraded(Job(parameters, OLD.digest, BLUE), epoch=4, partition=3)
    out = green.take(frame([token(4, NEW.digest, parameters.end, 3, **WAKING)], first=20, partition=3))
    assert [(row["event"], row["offset"]) for row in ledger(out)] == [("restored", 19)]
    release(green, 4)
    green.read()
    green.take(frame(pumps(2, 21), first=21, partition=3))
    assert events(green.out) == ["restored", "activated"]
    assert answered(green.out) == [(21, "new", 4), (22, "new", 4)]
    late = upgraded(Job(parameters, OLD.digest, BLUE), epoch=4, partition=5, end=parameters.end - 1)
    late.take(frame(pumps(2), partition=5))
    assert events(late.out) == ["activated"]


def test_a_shard_without_state_that_comes_much_later_follows_what_was_swapped_since() -> None:
    parameters = parameters_of(OLD, NEW, THIRD)
    first = Job(parameters, OLD.digest, BLUE)
    end = parameters.end
    parameters.cut(1, NEW.digest, {}, arrival=True)
    parameters.cut(2, THIRD.digest, {0: 50})
    green = upgraded(first, end=end, partition=3)
    green.take(frame(pumps(2), partition=3))
    assert answered(green.out) == [(0, "third", 2), (1, "third", 2)]
    assert events(green.out) == []


def test_frames_that_blue_held_are_held_on() -> None:
    blue = blue_of()
    end = blue.parameters.end
    blue.take(frame([*pumps(2, 6), token(1, THIRD.digest, end + 1), *pumps(3, 9)], first=6))
    green = upgraded(blue, epoch=2)
    assert events(green.read()) == ["restored"]
    green.take(frame(pumps(1, 12), first=12))
    release(green, 2)
    green.parameters.publish(THIRD)
    green.read()
    assert answered(blue.out, green.out)[8:] == [(n, "new", 2) for n in range(9, 13)]
    assert events(green.out) == ["restored", "activated", "rejected"]


def test_what_is_held_may_begin_with_anything_over_a_restart_too() -> None:
    blue = stopped()
    end = blue.parameters.end
    green = upgraded(blue)
    for first, payload in enumerate((b"\xc1", token(1, NEW.digest, end, **WAKING), b"{", *pumps(2, 9)), 6):
        green.take(frame([payload], first=first))
        green = green.restarted()
    release(green)
    out = green.read()
    assert events(out) == ["activated"]
    assert [one.role for one in out if one.role != "scores"] == ["ledger", "dead_letters", "dead_letters"]
    assert answered(blue.out, out)[6:] == [(9, "new", 1), (10, "new", 1)]


def test_what_is_held_is_bounded() -> None:
    green = upgraded(stopped(), max_held=200)
    green.take(frame(pumps(2, 6), first=6))
    with pytest.raises(OutOfOrder, match="holds"):
        green.take(frame(pumps(9, 8), first=8))


def test_a_plan_that_can_not_be_run_says_so() -> None:
    green = upgraded(stopped(), upgrade=Upgrade("savepoint", "0" * 64, 1))
    with pytest.raises(InvalidPlan, match="the upgrade to plan 000000000000…: plan 000000000000… is not defined"):
        green.take(frame(pumps(1, 6), first=6))


def test_it_waits_for_a_store_that_is_away() -> None:
    parameters = parameters_of(OLD)
    parameters.refer(NEW)
    blue = Job(parameters, OLD.digest, BLUE)
    blue.take(frame(pumps(6)))
    green = upgraded(blue)
    assert green.take(frame(pumps(2, 6), first=6)) == []
    green.worker.store.artifacts = {artifact.digest: artifact.encode() for artifact in NEW.models}
    green.worker.time += 10
    assert events(green.read()) == ["restored"]


def test_the_update_that_the_plan_came_by_goes_on_with_it() -> None:
    """A plan that travelled in a token is restarted with other settings."""
    carried = deployable("carried", extractor=EWM, champion="c:1")
    parameters = Parameters()
    parameters.publish(OLD)
    body = Update(carried.plan.encode(), [one.encode() for one in carried.models]).encode()
    blue = Job(parameters, OLD.digest, BLUE)
    blue.take(frame([token(1, carried.digest, parameters.end, kind="update", body=body), *pumps(2, 1)]))
    green = upgraded(blue, upgrade=Upgrade("savepoint", carried.digest, 2))
    assert events(green.take(frame(pumps(1, 3), first=3))) == ["restored"]
    assert green.shard.head.carried == body
