"""Cuts at arrival: ahead of a backlog, at the first record of the next frame, which is recorded (C6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.operators.cut import Cut
from swapstream.operators.outputs import Emission
from swapstream.operators.update import Update, UpdateCut
from tests.support.sent import ledger, plans
from tests.support.shards import (
    DEPLOYMENT,
    NAMESPACE,
    TOPIC,
    Deployable,
    Parameters,
    Stored,
    Worker,
    deployable,
    frame,
    parameters_of,
    reading,
    running,
    token,
)

ONE, TWO, THREE = (deployable(name, champion=f"{name}:1") for name in ("one", "two", "three"))
R = reading()


def arrive(parameters: Parameters, epoch: int, plan: str, **changes: Any) -> int:
    return parameters.cut(epoch, plan, {}, **{"arrival": True, **changes})


def arrive_update(parameters: Parameters, epoch: int, one: Deployable) -> None:
    """An update at arrival, which carries its plan and models."""
    cut = Cut(NAMESPACE, DEPLOYMENT, epoch, one.digest, TOPIC, {}, arrival=True)
    update = Update(one.plan.encode(), [artifact.encode() for artifact in one.models])
    parameters.define("update", DEPLOYMENT, UpdateCut(cut.encode(), update.encode()).encode())


def told(emissions: list[Emission]) -> list[tuple[str, int, int, str | None]]:
    return [(row["event"], row["offset"], row["epoch"], row.get("how")) for row in ledger(emissions)]


def test_it_begins_at_the_first_record_of_the_next_frame_and_is_recorded() -> None:
    worker = running(ONE, TWO, job="a job")
    worker.shard.on_frame(frame([R, R]))
    arrive(worker.parameters, 1, TWO.digest)
    assert worker.read() == []
    out = worker.shard.on_frame(frame([R, R], offsets=[5, 6]))
    assert plans(out) == [("two", 1, 5), ("two", 1, 6)]
    (row,) = ledger(out)
    assert (row["event"], row["how"], row["offset"], row["epoch"], row["plan"]) == ("activated", "arrival", 5, 1, TWO.digest)
    assert (row["plan_name"], row["time"], row["took_ms"]) == ("two", 1_005, 0)
    assert (worker.shard.head.epoch, worker.shard.head.plan) == (1, TWO.digest)
    assert plans(worker.shard.on_frame(frame([R], first=7))) == [("two", 1, 7)]


def test_tokens_with_a_lower_epoch_that_lie_in_the_backlog_have_no_effect() -> None:
    worker = running(ONE, TWO, THREE)
    end = worker.parameters.end
    arrive(worker.parameters, 2, TWO.digest)
    worker.read()
    out = worker.shard.on_frame(frame([R, token(1, THREE.digest, end), R, token(3, THREE.digest, end), R]))
    assert plans(out) == [("two", 2, 0), ("two", 2, 2), ("three", 3, 4)]
    assert told(out) == [("activated", 0, 2, "arrival"), ("rejected", 1, 1, None), ("activated", 3, 3, "token")]


def test_one_that_comes_behind_a_younger_token_has_no_effect() -> None:
    worker = running(ONE, TWO, THREE)
    worker.shard.on_frame(frame([token(3, THREE.digest, worker.parameters.end)]))
    arrive(worker.parameters, 2, TWO.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], first=1))) == [("three", 3, 1)]


def test_of_several_the_newest_begins() -> None:
    worker = running(ONE, TWO, THREE)
    arrive(worker.parameters, 2, THREE.digest)
    arrive(worker.parameters, 1, TWO.digest)
    arrive(worker.parameters, 7, TWO.digest, deployment="another")
    arrive(worker.parameters, 8, TWO.digest, topic="another")
    worker.read()
    out = worker.shard.on_frame(frame([R]))
    assert plans(out) == [("three", 2, 0)]
    assert len(ledger(out)) == 1


def test_one_whose_plan_is_not_there_is_rejected_once_and_the_next_one_counts() -> None:
    worker = running(ONE, TWO)
    arrive(worker.parameters, 1, TWO.digest)
    arrive(worker.parameters, 2, "0" * 64)
    worker.read()
    out = worker.shard.on_frame(frame([R]))
    assert plans(out) == [("two", 1, 0)]
    assert told(out) == [("rejected", 0, 2, "arrival"), ("activated", 0, 1, "arrival")]
    worker.parameters.write(None)
    worker.read()
    assert ledger(worker.shard.on_frame(frame([R], first=1))) == []


def test_records_do_not_wait_for_a_store_that_is_away() -> None:
    worker = running(ONE)
    worker.parameters.refer(TWO)
    arrive(worker.parameters, 1, TWO.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R]))) == [("one", 0, 0)]
    worker.store.artifacts = {artifact.digest: artifact.encode() for artifact in TWO.models}
    worker.time += 10
    assert plans(worker.shard.on_frame(frame([R], first=1))) == [("two", 1, 1)]


def test_an_older_one_does_not_wait_for_the_models_of_a_younger() -> None:
    worker = running(ONE, TWO)
    worker.parameters.refer(THREE)
    arrive(worker.parameters, 1, TWO.digest)
    arrive(worker.parameters, 2, THREE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R]))) == [("two", 1, 0)]
    worker.store.artifacts = {artifact.digest: artifact.encode() for artifact in THREE.models}
    worker.time += 10
    assert plans(worker.shard.on_frame(frame([R], first=1))) == [("three", 2, 1)]


def test_it_releases_a_shard_that_holds_at_an_older_token() -> None:
    worker = running(ONE, TWO)
    worker.parameters.refer(THREE)
    worker.read()
    worker.shard.on_frame(frame([R, token(1, THREE.digest, worker.parameters.end), R]))
    worker.shard.on_frame(frame([R], first=3))
    arrive(worker.parameters, 2, TWO.digest)
    out = worker.read()
    assert plans(out) == [("two", 2, 2), ("two", 2, 3)]
    assert told(out) == [("activated", 1, 2, "arrival"), ("rejected", 1, 1, None), ("released", 1, 1, None)]
    assert not worker.shard.waiting


def test_it_does_not_release_one_that_holds_at_a_younger_token() -> None:
    worker = running(ONE, TWO)
    worker.parameters.refer(THREE)
    worker.read()
    worker.shard.on_frame(frame([R, token(5, THREE.digest, worker.parameters.end), R]))
    for epoch in (2, 3):
        arrive(worker.parameters, epoch, TWO.digest)
        out = worker.read()
        assert told(out) == [("activated", 1, epoch, "arrival")]
        assert plans(out) == []
    worker.store.artifacts = {artifact.digest: artifact.encode() for artifact in THREE.models}
    worker.time += 10
    assert plans(worker.read()) == [("three", 5, 2)]


def test_an_aborted_epoch_does_not_come_back_at_arrival() -> None:
    worker = running(ONE, TWO)
    worker.shard.aborted = 3
    arrive(worker.parameters, 3, TWO.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R]))) == [("one", 0, 0)]


def test_rows_of_different_epochs_have_different_ids() -> None:
    worker = running(ONE, TWO)
    worker.parameters.refer(THREE)
    worker.read()
    worker.shard.on_frame(frame([token(5, THREE.digest, worker.parameters.end), R]))
    ids = []
    for epoch in (2, 3):
        arrive(worker.parameters, epoch, TWO.digest)
        ids += [row["id"] for row in ledger(worker.read())]
    assert len(set(ids)) == len(ids) == 2


# -- starts and restarts


def test_a_restored_shard_is_in_its_epoch_already() -> None:
    worker, stored = running(ONE, TWO), Stored()
    arrive(worker.parameters, 1, TWO.digest)
    worker.read()
    worker.shard.on_frame(frame([R]))
    stored.write(worker.shard.changes())
    twin = Worker(worker.parameters, ONE.digest)
    twin.read()
    stored.restore(twin.shard)
    out = twin.shard.on_frame(frame([R], first=1))
    assert plans(out) == [("two", 1, 1)]
    assert ledger(out) == []


def test_one_restored_from_before_it_begins_where_it_meets_it_then() -> None:
    worker, stored = running(ONE, TWO), Stored()
    worker.shard.on_frame(frame([R]))
    stored.write(worker.shard.changes())
    arrive(worker.parameters, 1, TWO.digest)
    twin = Worker(worker.parameters, ONE.digest, end=0)
    twin.read()
    stored.restore(twin.shard)
    assert plans(twin.shard.on_frame(frame([R], first=1))) == [("two", 1, 1)]


@pytest.mark.parametrize(("below", "found"), [(1, ("two", 2)), (0, ("one", 0))])
def test_a_start_takes_what_arrived_before_the_end_seen_at_submit(below: int, found: tuple[str, int]) -> None:
    parameters = parameters_of(ONE, TWO)
    at = arrive(parameters, 2, TWO.digest)
    worker = Worker(parameters, ONE.digest, end=at + below)
    worker.read(at + below)
    assert plans(worker.shard.on_frame(frame([R]))) == [(*found, 0)]
    parameters.read(worker.definitions)
    assert plans(worker.shard.on_frame(frame([R], first=1))) == [("two", 2, 1)]


def test_a_start_takes_the_newest_of_cuts_by_token_and_at_arrival() -> None:
    parameters = parameters_of(ONE, TWO, THREE)
    parameters.cut(1, TWO.digest, {0: 3})
    arrive(parameters, 2, ONE.digest)
    parameters.cut(3, THREE.digest, {0: 6})
    worker, later = Worker(parameters, ONE.digest), Worker(parameters, ONE.digest)
    for one in (worker, later):
        one.read()
    assert plans(worker.shard.on_frame(frame([R], first=5))) == [("one", 2, 5)]
    assert plans(later.shard.on_frame(frame([R], first=7))) == [("three", 3, 7)]


# -- updates at arrival


def test_an_update_at_arrival_carries_its_plan() -> None:
    worker = running(ONE)
    arrive_update(worker.parameters, 1, TWO)
    worker.read()
    out = worker.shard.on_frame(frame([R]))
    assert plans(out) == [("two", 1, 0)]
    assert told(out) == [("activated", 0, 1, "arrival")]


def test_a_shard_keeps_the_update_of_its_plan_when_nobody_else_does() -> None:
    worker, stored = running(ONE), Stored()
    arrive_update(worker.parameters, 1, TWO)
    worker.read()
    worker.shard.on_frame(frame([R]))
    stored.write(worker.shard.changes())
    worker.parameters.records.pop()
    twin = Worker(worker.parameters, ONE.digest)
    twin.read()
    stored.restore(twin.shard)
    assert plans(twin.shard.on_frame(frame([R], first=1))) == [("two", 1, 1)]


def test_a_start_takes_an_update_at_arrival() -> None:
    parameters = parameters_of(ONE)
    arrive_update(parameters, 4, TWO)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R]))) == [("two", 4, 0)]
    assert worker.shard.head.carried


def test_an_update_at_arrival_that_lacks_a_model_is_rejected() -> None:
    worker = running(ONE)
    arrive_update(worker.parameters, 1, msgspec.structs.replace(TWO, models=()))
    worker.read()
    out = worker.shard.on_frame(frame([R]))
    assert plans(out) == [("one", 0, 0)]
    assert told(out) == [("rejected", 0, 1, "arrival")]
