"""What shards do, folded from the rows of a ledger."""

from __future__ import annotations

from typing import Any

import msgspec

from swapstream.operators.cut import Cut
from swapstream.scripts.history import Step
from swapstream.scripts.lag import Lag
from swapstream.scripts.shards import (
    ShardState,
    held_epochs,
    held_records,
    holding,
    said,
    shard_rows,
    shard_states,
    standing,
)

CUT = Cut("prod", "d", 1, "one", "t", {0: 10, 1: 20})
STEPS = [
    Step(0, "zero", "submitted"),
    Step(1, "one", "token", CUT),
    Step(2, "two", "token", Cut("prod", "d", 2, "two", "t", {0: 30, 1: 40})),
]


def row(event: str, partition: Any, offset: int, **more: Any) -> dict[str, Any]:
    return {"namespace": "prod", "deployment": "d", "event": event, "partition": partition, "offset": offset, **more}


ACTIVATED = row("activated", 0, 10, epoch=1, plan="one", plan_name="p", job="j")
HOLDING = row("holding", 0, 30, reason="the store is away")


def after(*rows: dict[str, Any]) -> ShardState:
    return shard_states(rows, "prod", "d")[0]


def test_the_last_activation_counts() -> None:
    later = row("activated", 0, 30, epoch=2, plan="two", plan_name="q")
    assert after(ACTIVATED) == ShardState(1, "one", "p", 10, "j")
    assert after(ACTIVATED, later) == ShardState(2, "two", "q", 30, "j")
    assert after(later, ACTIVATED).epoch == 1, "a job that went back to a checkpoint says so again"


def test_holding_until_it_is_told_otherwise() -> None:
    held = after(ACTIVATED, HOLDING)
    assert (held.holds_at, held.reason, held.epoch) == (30, "the store is away", 1)
    for event in ("released", "aborted", "rejected"):
        freed = after(ACTIVATED, HOLDING, row(event, 0, 30))
        assert (freed.holds_at, freed.reason, freed.epoch) == (None, None, 1), event
    assert after(ACTIVATED, HOLDING, row("activated", 0, 30, epoch=2)).holds_at is None
    assert after(ACTIVATED, HOLDING, row("rejected", 0, 31)).holds_at == 30, "another token's rejection"
    assert after(ACTIVATED, HOLDING, row("prepared", 0, 28)).holds_at == 30


def test_rows_of_others_and_of_no_shard_are_passed_over() -> None:
    others = [{**ACTIVATED, "namespace": "alice"}, {**ACTIVATED, "deployment": "e"}, {}, {**ACTIVATED, "partition": None}]
    assert shard_states(others, "prod", "d") == {}


def test_what_shards_hold_at_tells_the_epoch() -> None:
    states = shard_states([ACTIVATED, HOLDING, row("holding", 1, 20)], "prod", "d")
    assert list(holding(states)) == [0, 1]
    assert held_epochs(states, STEPS) == [1, 2]
    assert held_epochs({0: ShardState()}, STEPS) == []


def rows_of(states: dict[int, ShardState], lags: dict[int, Lag], end: int = 100) -> list[tuple[Any, Any]]:
    return [(found["epoch"], found["plan"]) for found in shard_rows("prod.d", {0: end}, states, STEPS, lags)]


def test_a_shard_that_said_nothing_is_where_the_cut_maps_put_it() -> None:
    assert rows_of({}, {0: Lag(0, 0.0)}) == [(2, "two")]
    assert rows_of({}, {0: Lag(69, 1.0)}) == [(2, "two")], "it has read up to offset 30, the token"
    assert rows_of({}, {0: Lag(70, 1.0)}) == [(1, "one")]
    assert rows_of({}, {}) == [(0, "zero")], "it has read nothing that is known of"
    assert rows_of({0: ShardState(1, "one", "p", 10)}, {0: Lag(0, 0.0)}) == [(1, "p")], "the ledger has the word"


def test_what_is_held_is_what_was_read_from_the_token_on() -> None:
    state = after(ACTIVATED, HOLDING)
    assert [held_records(state, 100, lag) for lag in (Lag(50, 1.0), Lag(90, 1.0), None)] == [20, 0, None]
    assert held_records(after(ACTIVATED), 100, Lag(50, 1.0)) is None


def test_a_row_has_all_that_status_shows() -> None:
    state = msgspec.structs.replace(after(ACTIVATED, HOLDING))
    first, second = shard_rows("prod.d", {0: 50, 1: 60}, {0: state}, [], {0: Lag(20, 1.5)})
    assert first == {"deployment": "prod.d", "side": None, "generation": 0, "duty": "emit", "partition": 0, "plan": "p",
                     "plan_digest": "one", "epoch": 1, "since": 10,
                     "behind": "20 records (1.5 s)", "behind_records": 20, "behind_s": 1.5, "holds_at": 30, "held_records": 0,
                     "reason": "the store is away", "newest_epoch": None, "said_by": "j"}  # fmt: skip
    assert (second["plan"], second["epoch"], second["behind"]) == (None, None, None)


FORKED = row("forked", 0, 20, epoch=2, plan="two", job="k", generation=3)
RETIRED = row("retired", 0, 30, epoch=2, job="j", generation=2)
TAKEN = row("activated", 0, 30, epoch=2, plan="two", job="k", generation=3)
BLUE = {**ACTIVATED, "generation": 2}


def duties(*rows: dict[str, Any]) -> dict[int, str]:
    return {generation: states[0].duty for generation, states in said(rows, "prod", "d").items()}


def test_the_jobs_of_a_handover_are_told_apart() -> None:
    assert duties(BLUE, FORKED) == {2: "emit", 3: "mute"}
    assert duties(BLUE, FORKED, RETIRED) == {2: "retired", 3: "mute"}
    assert duties(BLUE, FORKED, RETIRED, TAKEN) == {2: "retired", 3: "emit"}


def test_who_answers_is_never_a_mute_job() -> None:
    assert after(BLUE, FORKED) == ShardState(1, "one", "p", 10, "j", generation=2)
    assert after(BLUE, FORKED, RETIRED).duty == "retired"
    assert after(BLUE, FORKED, RETIRED, TAKEN) == ShardState(2, "two", None, 30, "k", generation=3)
    assert after(BLUE, FORKED, {**FORKED, "generation": 4}).generation == 2, "two that were given up"


def test_a_job_that_went_on_from_anothers_state_is_where_that_was() -> None:
    found = said([BLUE, FORKED], "prod", "d")
    assert standing(found, 5, 0) == ShardState(1, "one", "p", 10, "j", generation=5)
    assert standing(found, 5, 1) == ShardState(generation=5)
    assert standing(said([BLUE, row("rejected", 0, 40, generation=5)], "prod", "d"), 5, 0).plan == "one"
