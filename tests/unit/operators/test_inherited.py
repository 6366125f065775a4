"""Shards that begin with the state of another deployment's shard."""

from __future__ import annotations

from typing import Any

import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.assignment import Inherited
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.operators.shard_state import decode_head
from swapstream.operators.snapshots import Published
from tests.support.past import Past
from tests.support.shards import EWM, Stored, Worker, deployable, frame

PUMPS = deployable("pumps", extractor=EWM, champion="a:1")
OTHER = deployable("other", extractor=EWM, champion="b:1")
WIDER = deployable("wider", extractor=("identity", *EWM), champion="w:1")


def past(*plans: Any) -> Past:
    """120 records under the first plan, with a snapshot in the midst."""
    found = Past(*plans)
    found.readings(120)
    found.live()
    return found


def heir(found: Past, plan: Any, state: Published, there: bool = True) -> Worker:
    given = Inherited(state.about.digest, state.about.size, "states/prod.heir/0")
    worker = Worker(found.parameters, plan.digest, inherited={0: given})
    if there:
        worker.store.artifacts[given.digest] = state.state
    return worker


def rest(found: Past, state: Published) -> Any:
    """The records behind a snapshot, as one frame."""
    wanted = [(offset, payload) for offset, payload in found.log if offset > state.about.offset]
    return frame([payload for _, payload in wanted], offsets=[offset for offset, _ in wanted])


def scores(emissions: list[Emission], first: int) -> dict[tuple[int, int], tuple[Any, ...]]:
    """What was said of each reading from an offset on."""
    frames: list[ScoresFrame] = [decode_scores(one.value) for one in emissions if one.role == "scores"]
    return {(row["offset"], row["index"]): (row["score"], row["anomalous"], row["warming"])
            for one in frames for row in one.rows() if row["role"] == "champion" and row["offset"] >= first}


def middle(found: Past) -> Published:
    return found.snapshots[len(found.snapshots) // 2]


def test_it_answers_as_the_other_did() -> None:
    found = past(PUMPS)
    state = middle(found)
    worker = heir(found, PUMPS, state)
    worker.read()
    said = scores(worker.shard.on_frame(rest(found, state)), 0)
    assert said == scores(found.emissions, state.about.offset + 1)
    assert not any(warming for *_, warming in said.values())
    cold = Worker(found.parameters, PUMPS.digest)
    cold.read()
    assert scores(cold.shard.on_frame(rest(found, state)), 0) != said


def test_under_another_plan_what_means_the_same_goes_on() -> None:
    found = past(PUMPS, OTHER, WIDER)
    state = middle(found)
    for plan in (OTHER, WIDER):
        worker = heir(found, plan, state)
        worker.read()
        said = scores(worker.shard.on_frame(rest(found, state)), 0)
        assert said
        assert not any(warming for *_, warming in said.values())
        assert worker.shard.head.plan == plan.digest
        assert worker.shard.scoring.epoch == 0


def test_what_it_puts_out_begins_with_itself() -> None:
    found = past(PUMPS)
    state = middle(found)
    worker = heir(found, PUMPS, state)
    worker.read()
    first = next(decode_scores(one.value) for one in worker.shard.on_frame(rest(found, state)) if one.role == "scores")
    assert first.prev == -1


def test_records_wait_for_a_store_that_is_away() -> None:
    found = past(PUMPS)
    state = middle(found)
    worker = heir(found, PUMPS, state, there=False)
    worker.read()
    assert worker.shard.on_frame(rest(found, state)) == []
    assert worker.shard.waiting
    worker.store.artifacts[state.about.digest] = state.state
    assert worker.shard.on_timer() == []  # it was asked a moment ago
    worker.time += 1
    assert scores(worker.shard.on_timer(), 0) == scores(found.emissions, state.about.offset + 1)


def test_it_begins_anew_once_only() -> None:
    """What is restored from its own checkpoint goes on from there, whatever the store has."""
    found = past(PUMPS)
    state = middle(found)
    raw = rest(found, state)
    worker, stored = heir(found, PUMPS, state), Stored()
    worker.read()
    said = worker.shard.on_frame(raw.slice(0, 10))
    stored.write(worker.shard.changes())
    again = heir(found, PUMPS, state, there=False)
    again.read()
    stored.restore(again.shard)
    said += again.shard.on_frame(raw.slice(10, len(raw)))
    assert scores(said, 0) == scores(found.emissions, state.about.offset + 1)
    assert decode_head(stored.head or b"", str).started


def test_bytes_that_are_no_state_are_refused() -> None:
    found = past(PUMPS)
    state = middle(found)
    worker = heir(found, PUMPS, Published(state.about, b"{}"))
    worker.read()
    with pytest.raises(InvalidDefinition, match="a shard's snapshot"):
        worker.shard.on_frame(rest(found, state))
