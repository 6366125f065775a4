"""Two jobs on one shard: one answers up to the handover token, the other behind it."""

from __future__ import annotations

from typing import Any

import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.abort import Abort
from swapstream.operators.duty import meaning_of
from swapstream.operators.scores import decode_scores
from swapstream.operators.snapshots import Assembly, decode_part
from swapstream.operators.token import Token
from tests.support.jobs import BLUE, GREEN, Job, answered, green_of, handover
from tests.support.sent import events, ledger
from tests.support.shards import (
    DEPLOYMENT,
    EWM,
    NAMESPACE,
    deployable,
    frame,
    parameters_of,
    reading,
    route,
    running,
    token,
)

OLD = deployable("old", extractor=EWM, champion="a:1")
NEW = deployable("new", extractor=(*EWM, "differences"), champion="b:1", challengers=("c:1",))
THIRD = deployable("third", extractor=EWM, champion="d:1")


def pumps(count: int, first: int = 0) -> list[bytes]:
    return [reading(f"pump-{n % 3}", (n * 0.3, -n * 0.7), time=1_000 + n) for n in range(first, first + count)]


def blue_of(**assigned: Any) -> Job:
    """In generation 1 under plan "old", having answered offsets 0 to 5."""
    job = Job(parameters_of(OLD, NEW, THIRD), OLD.digest, BLUE, **assigned)
    job.take(frame(pumps(6)))
    return job


def expected(count: int, cut: int, *without: int) -> list[tuple[int, str, int]]:
    """Offsets 0 to count - 1 but for these and the cut, under the old plan before it and the new one behind."""
    return [(n, "old", 0) if n < cut else (n, "new", 1) for n in range(count) if n not in (cut, *without)]


# -- the token


@pytest.mark.parametrize("end", [True, False], ids=["read", "unread"])
def test_each_record_has_one_answer_and_the_chain_goes_on(end: bool) -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    more = frame(pumps(4, 6), first=6)
    assert [one.role for one in green.take(more)] == ["ledger"]
    blue.take(more)
    at = blue.parameters.end + (not end)
    both = frame([*pumps(3, 10), handover(NEW.digest, at), *pumps(5, 14)], first=10)
    for job in (blue, green):
        job.take(both)
        job.parameters.publish(THIRD)
        job.read()
        job.take(frame(pumps(4, 19), first=19))
    assert answered(blue.out, green.out) == expected(23, 13)
    assert [row["event"] for row in ledger(blue.out) if row["event"] not in ("holding", "released")] == ["retired"]
    (retired,) = [row for row in ledger(blue.out) if row["event"] == "retired"]
    assert (retired["offset"], retired["epoch"], retired["plan"], retired["generation"]) == (13, 1, NEW.digest, BLUE)
    forked, *_, activated = [row for row in ledger(green.out) if row["event"] not in ("holding", "released")]
    assert (forked["event"], forked["offset"], forked["generation"]) == ("forked", 5, GREEN)
    assert (activated["event"], activated["how"], activated["offset"], activated["epoch"]) == ("activated", "handover", 13, 1)


def test_greens_state_is_that_of_a_swap_at_the_savepoint() -> None:
    """Muted records are extracted, and only that: state behind the token is as if they had been answered."""
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    rest = [*pumps(4, 6), handover(NEW.digest, blue.parameters.end), *pumps(4, 11)]
    green.take(frame(rest, first=6))
    swapped = running(OLD, NEW)
    swapped.shard.on_frame(frame(pumps(6)))
    swapped.shard.scoring.activate(swapped.pipelines.get(NEW.digest), 1)
    out = swapped.shard.on_frame(frame([one for one in rest if one[:1] != b"\xc1"], offsets=[6, 7, 8, 9, 11, 12, 13, 14]))
    assert swapped.shard.tables is not None
    assert green.shard.tables.snapshot() == swapped.shard.tables.snapshot()
    assert green.shard.scoring.chains == swapped.shard.scoring.chains
    mine, theirs = ([decode_scores(one.value) for one in sent if one.role == "scores"][-1] for sent in (green.out, out))
    assert list(mine.rows()) == [row for row in theirs.rows() if row["offset"] > 10]


def test_nothing_but_the_ledger_and_snapshots_comes_from_a_muted_shard() -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest, snapshot_every_ms=1)
    bad = [*pumps(3, 6), b"{", b"\xc1", None, *pumps(50, 12)]
    assert {one.role for one in green.take(frame(bad, first=6))} == {"ledger", "snapshots"}
    assert {one.role for one in green.take(frame(pumps(50, 70), first=70))} == set()


@pytest.mark.parametrize(
    "roles", [{}, {"routes": (route("pump-1"), route("pump-2", champion="e:1", decoy=True)), "champion": "f:1"}], ids=["none", "some"]
)
def test_the_chains_of_routes_without_a_model_and_of_decoys_go_on_too(roles: dict[str, Any]) -> None:
    """A job that has answered everything under green's plan has the same."""
    new = deployable("new", extractor=(*EWM, "differences"), **roles)
    blue = Job(parameters_of(OLD, new), OLD.digest, BLUE)
    green = green_of(blue, new.digest)
    alone = running(new)
    for first in range(0, 30, 3):
        green.take(frame(pumps(3, first), first=first))
        alone.shard.on_frame(frame(pumps(3, first), first=first))
        assert green.shard.scoring.chains == alone.shard.scoring.chains
    assert not answered(green.out)


# -- restarts


@pytest.mark.parametrize("when", ["before", "behind"])
def test_both_are_restarted_from_before_or_behind_the_token(when: str) -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    parts = [frame(pumps(4, 6), first=6), frame([*pumps(2, 10), handover(NEW.digest, blue.parameters.end), *pumps(2, 13)], first=10)]
    rest = frame(pumps(5, 15), first=15)
    for job in (blue, green):
        job.take(parts[0])
        before, sent = job.state.copy(), len(job.out)
        job.take(parts[1])
        if when == "before":
            again = job.restarted(before)
            again.take(parts[1])
            del job.out[sent:]
        else:
            again = job.restarted()
        again.take(rest)
        job.out += again.out
    assert answered(blue.out, green.out) == expected(20, 12)


def test_a_retired_job_that_is_brought_back_says_so_once_more() -> None:
    blue = blue_of()
    blue.take(frame([*pumps(2, 6), handover(NEW.digest, blue.parameters.end), *pumps(2, 9)], first=6))
    assert blue.take(frame(pumps(2, 11), first=11)) == []
    for again in (blue.restarted(), blue.restarted()):
        (said,) = ledger(again.take(frame(pumps(2, 13), first=13)))
        assert (said["event"], said["generation"], said["offset"], said["reason"]) == ("retired", BLUE, 12, "brought back")
        assert again.take(frame(pumps(2, 15), first=15)) == []


def test_a_restart_tells_and_publishes_no_fork_again() -> None:
    green = green_of(blue_of(), NEW.digest, snapshot_every_ms=1_000_000)
    green.take(frame(pumps(2, 6), first=6))
    assert green.restarted().take(frame(pumps(2, 8), first=8)) == []


def test_a_green_that_lost_its_checkpoints_begins_at_the_savepoint_again() -> None:
    blue = blue_of()
    savepoint = blue.state.copy()
    green = green_of(blue, NEW.digest)
    rest = frame([*pumps(2, 6), handover(NEW.digest, blue.parameters.end), *pumps(2, 9)], first=6)
    green.take(rest)
    again = green_of(blue, NEW.digest, state=savepoint)
    again.take(rest)
    assert [one.value for one in again.out] == [one.value for one in green.out]


# -- what is met meanwhile


def test_other_tokens_pass_a_muted_shard_by() -> None:
    blue = blue_of()
    end = blue.parameters.end
    green = green_of(blue, NEW.digest, epoch=3)
    others = [token(1, THIRD.digest, end), token(2, THIRD.digest, end, kind="prepare"), token(2, THIRD.digest, end, kind="update"),
              token(2, "0" * 64, end), token(2, NEW.digest, end, kind="strange"), handover(THIRD.digest, end, epoch=2, generation=7)]
    assert events(green.take(frame([*others, *pumps(2, 12)], first=6))) == ["forked"]
    blue.parameters.cut(9, THIRD.digest, {}, arrival=True)
    green.read()
    assert green.take(frame(pumps(2, 20), first=20)) == []
    assert (green.shard.head.plan, green.shard.head.duty) == (NEW.digest, "mute")


def test_a_prepare_token_asks_one_generation() -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    end = blue.parameters.end
    asked = frame([token(1, NEW.digest, end, kind="prepare", generation=GREEN), token(1, NEW.digest, end, kind="prepare")], first=6)
    assert [(row["event"], row["offset"]) for row in ledger(blue.take(asked))] == [("prepared", 7)]
    assert [(row["event"], row["offset"]) for row in ledger(green.take(asked))] == [("forked", 5), ("prepared", 6)]


def test_what_is_in_force_need_not_be_prepared() -> None:
    blue = blue_of()
    end = blue.parameters.end
    asked = [token(1, NEW.digest, end), token(1, NEW.digest, end, kind="prepare"), token(1, THIRD.digest, end, kind="prepare")]
    assert [(row["event"], row["offset"]) for row in ledger(blue.take(frame(asked, first=6)))] == [("activated", 6), ("rejected", 8)]


def test_prepare_tokens_that_blue_has_to_answer_are_not_greens() -> None:
    blue = blue_of()
    asked = blue.take(frame([token(1, NEW.digest, blue.parameters.end + 1, kind="prepare")], first=6))
    assert asked == []
    assert blue.shard.waiting
    green = green_of(blue, NEW.digest)
    green.take(frame(pumps(1, 7), first=7))
    assert not green.shard.waiting


def test_green_goes_through_what_blue_holds_without_a_sound() -> None:
    blue = blue_of()
    end = blue.parameters.end
    blue.take(frame([*pumps(2, 6), token(1, THIRD.digest, end + 1), *pumps(3, 9)], first=6))
    blue.take(frame(pumps(2, 12), first=12))
    assert blue.shard.holding
    blue.parameters.publish(THIRD)
    green = green_of(blue, NEW.digest, epoch=2)
    out = green.read()
    assert [(row["event"], row["offset"]) for row in ledger(out)] == [("forked", 7)]
    assert not green.shard.holding
    assert (green.shard.head.last, green.shard.scoring.chains["pumps"].scores.offset) == (13, 13)
    blue.read()
    rest = frame([handover(NEW.digest, end, epoch=2), *pumps(2, 15)], first=14)
    blue.take(rest)
    green.take(rest)
    held = [(n, "third", 1) for n in range(9, 14)]
    assert answered(blue.out, green.out)[6:] == [(6, "old", 0), (7, "old", 0), *held, (15, "new", 2), (16, "new", 2)]


def test_an_arrival_ahead_of_the_token_changes_nothing_about_who_answers() -> None:
    """Blue is behind, and follows a cut at arrival of a higher epoch before it meets the token."""
    blue = blue_of()
    end = blue.parameters.end
    green = green_of(blue, NEW.digest)
    blue.parameters.cut(1, NEW.digest, {0: 8}, predecessor=BLUE, successor=GREEN)
    blue.parameters.cut(2, THIRD.digest, {}, arrival=True)
    rest = [frame([*pumps(2, 6), handover(NEW.digest, end), *pumps(2, 9)], first=6), frame(pumps(2, 11), first=11)]
    for job in (blue, green):
        job.read()
        for raw in rest:
            job.take(raw)
    found = [(offset, plan) for offset, plan, _ in answered(blue.out, green.out)[6:]]
    assert found == [(6, "third"), (7, "third"), (9, "new"), (10, "new"), (11, "third"), (12, "third")]


def test_no_abort_parts_the_two_jobs() -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    raw = frame([*pumps(2, 6), handover(NEW.digest, blue.parameters.end + 1), *pumps(2, 9)], first=6)
    for job in (blue, green):
        job.take(raw)
        assert job.shard.holding
    one = Abort(NAMESPACE, DEPLOYMENT, 1)
    blue.parameters.define("abort", one.name, one.encode())
    for job in (blue, green):
        job.read()
    assert answered(blue.out, green.out) == expected(11, 8)


@pytest.mark.parametrize("changed", [{"partition": 3}, {"topic": "other"}, {"deployment": "other"}])
def test_a_handover_that_is_not_for_this_shard_changes_nothing(changed: dict[str, Any]) -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    raw = frame([handover(NEW.digest, blue.parameters.end, **changed), *pumps(2, 7)], first=6)
    blue.take(raw)
    green.take(raw)
    assert answered(blue.out, green.out)[6:] == [(7, "old", 0), (8, "old", 0)]


def test_a_retired_shard_does_nothing_any_more() -> None:
    blue = blue_of()
    end = blue.parameters.end
    blue.take(frame([handover(NEW.digest, end), *pumps(2, 7)], first=6))
    more = [*pumps(2, 9), token(5, THIRD.digest, end), token(6, THIRD.digest, end, kind="prepare"), b"\xc1", *pumps(2, 14)]
    assert blue.take(frame(more, first=9)) == []
    assert events(blue.restarted().take(frame(pumps(2, 30), first=30))) == ["retired"]
    assert not blue.shard.waiting


def test_a_plan_of_the_token_that_green_does_not_run_yet_begins_as_at_a_swap() -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    green.take(frame([handover(THIRD.digest, blue.parameters.end), *pumps(2, 7)], first=6))
    assert answered(blue.out, green.out)[6:] == [(7, "third", 1), (8, "third", 1)]


# -- without state


def test_a_shard_without_state_meets_its_token_in_both_jobs() -> None:
    """An idle partition: the handover is its first record, or a prepare token is."""
    parameters = parameters_of(OLD, NEW)
    blue = Job(parameters, OLD.digest, BLUE)
    green = green_of(blue, NEW.digest, epoch=4)
    first = token(4, NEW.digest, parameters.end, kind="prepare", generation=GREEN)
    rest = frame([first, handover(NEW.digest, parameters.end, epoch=4), *pumps(2, 5)], first=3)
    blue.take(rest)
    green.take(rest)
    assert answered(blue.out, green.out) == [(5, "new", 4), (6, "new", 4)]
    assert events(blue.out) == ["retired"]
    assert events(green.out) == ["forked", "prepared", "activated"]


def test_a_start_over_an_old_log_takes_handovers_for_swaps() -> None:
    parameters = parameters_of(OLD, NEW)
    job = Job(parameters, OLD.digest, 5)
    job.take(frame([*pumps(2), handover(NEW.digest, parameters.end), *pumps(2, 3)]))
    assert answered(job.out) == [(0, "old", 0), (1, "old", 0), (3, "new", 1), (4, "new", 1)]
    assert [(row["event"], row["how"]) for row in ledger(job.out)] == [("activated", "token")]


def test_a_start_behind_a_handover_follows_its_cut_map() -> None:
    parameters = parameters_of(OLD, NEW)
    parameters.cut(1, NEW.digest, {0: 2}, predecessor=BLUE, successor=GREEN)
    job = Job(parameters, OLD.digest, 5)
    job.take(frame(pumps(2, 3), first=3))
    assert ledger(job.out) == []
    assert job.shard.head.plan == NEW.digest


def test_partitions_added_after_a_handover_are_greens() -> None:
    parameters = parameters_of(OLD, NEW)
    end = parameters.end
    blue = Job(parameters, OLD.digest, BLUE, partition=1)
    green = green_of(blue, NEW.digest, end=end)
    parameters.cut(1, NEW.digest, {0: 9}, predecessor=BLUE, successor=GREEN)
    for job in (blue, green):
        job.read()
        job.take(frame(pumps(3), partition=1))
    assert events(blue.out) == ["retired"]
    assert [row["event"] for row in ledger(green.out)] == []
    assert answered(green.out) == [(n, "new", 1) for n in range(3)]
    assert events(blue.restarted().take(frame(pumps(3, 3), first=3, partition=1))) == ["retired"]
    assert green.restarted().take(frame(pumps(3, 3), first=3, partition=1)) != []


def test_of_a_partition_that_is_added_meanwhile_green_waits_for_the_cut_map() -> None:
    """Whether there is a token in it is not known before; blue answers."""
    parameters = parameters_of(OLD, NEW)
    blue = Job(parameters, OLD.digest, BLUE, partition=1)
    green = green_of(blue, NEW.digest)
    raw = frame(pumps(3), partition=1)
    blue.take(raw)
    assert green.take(raw) == []
    assert green.shard.holding
    green = green.restarted()
    parameters.cut(1, NEW.digest, {0: 9, 1: 5}, predecessor=BLUE, successor=GREEN)
    green.read()
    assert not green.shard.holding
    rest = frame([*pumps(2, 3), handover(NEW.digest, parameters.end, partition=1), *pumps(2, 6)], first=3, partition=1)
    blue.take(rest)
    green.take(rest)
    assert answered(blue.out, green.out) == expected(8, 5)


# -- whose state it is


def test_state_of_a_job_that_has_handed_over_is_refused() -> None:
    blue = blue_of()
    blue.take(frame([handover(NEW.digest, blue.parameters.end)], first=6))
    for changed in ({"generation": 3}, {"generation": 3, "upgrade": green_of(blue_of(), NEW.digest)._told["upgrade"]}):
        with pytest.raises(InvalidDefinition, match=r"state of generation 1 of prod\.detect ends where that job handed over"):
            blue.restarted(**changed)


def test_a_job_may_go_on_from_the_one_that_took_over() -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    green.take(frame([handover(NEW.digest, blue.parameters.end), *pumps(2, 7)], first=6))
    third = green.restarted(generation=3, upgrade=None)
    third.take(frame(pumps(2, 9), first=9))
    assert answered(blue.out, green.out, third.out)[-2:] == [(9, "new", 1), (10, "new", 1)]
    assert third.shard.head.generation == 3


def test_rows_of_two_jobs_are_told_apart() -> None:
    blue = blue_of()
    green = green_of(blue, NEW.digest)
    raw = frame([handover(NEW.digest, blue.parameters.end + 1)], first=6)
    rows = [row for job in (blue, green) for row in ledger(job.take(raw)) if row["event"] == "holding"]
    assert len({row["id"] for row in rows}) == len({row["writer"] for row in rows}) == 2
    assert [row.get("prev") for row in ledger(blue.out)] == [None]


# -- the fork's snapshot


def test_a_fork_is_published_whatever_its_size_and_green_can_be_run_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.snapshots.MAX_CUT_BYTES", 10)
    monkeypatch.setattr("swapstream.operators.snapshots.PART_BYTES", 100)
    monkeypatch.setattr("swapstream.operators.snapshots.AT_ONCE", 200)
    blue = blue_of(snapshot_every_ms=1_000_000)
    green = green_of(blue, NEW.digest)
    for first in range(6, 60):
        green.take(frame(pumps(1, first), first=first))
    assembly = Assembly()
    parts = [decode_part(one.value) for one in green.out if one.role == "snapshots"]
    (found,) = [whole for part in parts if (whole := assembly.add(part))]
    about = found.about
    assert (about.why, about.offset, about.generation, about.plan, about.epoch) == ("fork", 5, GREEN, NEW.digest, 0)
    assert about.key == f"{NAMESPACE}/{DEPLOYMENT}/2/telemetry/0/5/0"
    twin = Job(blue.parameters, NEW.digest, GREEN, upgrade=green._told["upgrade"])
    twin.shard.restore(found.state)
    twin.take(frame(pumps(54, 6), first=6))
    assert twin.shard.tables.snapshot() == green.shard.tables.snapshot()
    assert twin.shard.head.duty == "mute"


# -- what tokens mean


@pytest.mark.parametrize(
    ("duty", "changes", "meaning"),
    [
        ("emit", {}, "retire"),
        ("emit", {"predecessor": 9}, "plain"),
        ("mute", {"generation": BLUE}, "take over"),
        ("mute", {}, "nothing"),
        ("mute", {"kind": "swap"}, "nothing"),
        ("mute", {"kind": "prepare"}, "nothing"),
        ("mute", {"kind": "prepare", "generation": BLUE}, "plain"),
        ("emit", {"kind": "prepare"}, "nothing"),
        ("emit", {"kind": "prepare", "generation": 0}, "plain"),
        ("emit", {"kind": "swap"}, "plain"),
        ("retired", {}, "nothing"),
        ("retired", {"kind": "swap"}, "nothing"),
    ],
)
def test_what_a_token_asks_by_duty(duty: Any, changes: dict[str, Any], meaning: str) -> None:
    """Of a shard of generation 1."""
    assert meaning_of(Token.decode(handover("p", 0, **changes)), duty, BLUE) == meaning
