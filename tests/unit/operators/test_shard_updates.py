"""Updates: tokens that carry a plan, and all that it newly needs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.operators.cut import Cut
from swapstream.operators.plan import Pin
from swapstream.operators.scores import decode_scores
from swapstream.operators.update import MAX_UPDATE, Update, UpdateCut
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
    model,
    parameters_of,
    reading,
    running,
    token,
)

ONE, TWO, THREE = (deployable(name, champion=f"{name}:1") for name in ("one", "two", "three"))
R = reading()


def body(one: Deployable, **changes: Any) -> bytes:
    return msgspec.msgpack.encode(
        msgspec.structs.replace(Update(one.plan.encode(), [artifact.encode() for artifact in one.models]), **changes)
    )


def update(epoch: int, one: Deployable, end: int, **changes: Any) -> bytes:
    return token(epoch, one.digest, end, **{"kind": "update", "body": body(one), **changes})


def cut(parameters: Parameters, epoch: int, one: Deployable, offset: int) -> None:
    """What is written with the tokens of an update."""
    made = Cut(NAMESPACE, DEPLOYMENT, epoch, one.digest, TOPIC, {0: offset})
    parameters.define("update", DEPLOYMENT, UpdateCut(made.encode(), body(one)).encode())


def restored(worker: Worker) -> Worker:
    """Another worker, which has met no update."""
    stored = Stored()
    stored.write(worker.shard.changes())
    twin = Worker(worker.parameters, ONE.digest)
    twin.read()
    stored.restore(twin.shard)
    return twin


def test_its_plan_begins_behind_the_token_and_is_not_on_parameters() -> None:
    worker = running(ONE, job="a job")
    out = worker.shard.on_frame(frame([R, update(1, TWO, worker.parameters.end), R]))
    assert plans(out) == [("one", 0, 0), ("two", 1, 2)]
    (row,) = ledger(out)
    assert (row["event"], row["how"], row["offset"], row["epoch"], row["plan"]) == ("activated", "update", 1, 1, TWO.digest)
    assert (row["plan_name"], row["took_ms"]) == ("two", 0)


def test_only_what_is_not_on_parameters_must_be_in_it() -> None:
    worker = running(ONE)
    worker.parameters.publish(msgspec.structs.replace(TWO, plan=ONE.plan))
    worker.read()
    out = worker.shard.on_frame(frame([update(1, TWO, worker.parameters.end, body=body(TWO, models=[])), R]))
    assert plans(out) == [("two", 1, 1)]


def test_what_an_earlier_one_carried_does_not_count_as_defined() -> None:
    """A shard that starts between the two could not know of it."""
    worker = running(ONE)
    end = worker.parameters.end
    bare = update(2, TWO, end, body=body(TWO, models=[]))
    out = worker.shard.on_frame(frame([update(1, TWO, end), R, bare, token(3, TWO.digest, end), R]))
    assert [row["event"] for row in ledger(out)] == ["activated", "rejected", "rejected"]
    assert plans(out) == [("two", 1, 1), ("two", 1, 4)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": b""}, "carries nothing"),
        ({"body": b"\x93\xc0"}, "not an update"),
        ({"body": body(THREE)}, f"carries plan {THREE.digest[:12]}"),
        ({"body": body(TWO, models=[])}, "model two:1"),
        ({"body": body(TWO, v=9)}, "version 9"),
        ({"body": body(TWO, models=[b"x" * MAX_UPDATE])}, "size: "),
        ({"body": body(TWO, plan=b"\xa1\xff")}, "plan"),
        ({"epoch": 0}, "epoch 0 is not above 0"),
        ({"partition": 3}, "written for telemetry-3"),
    ],
)
def test_one_that_is_no_good_is_rejected_and_the_champion_stays(changes: dict[str, Any], reason: str) -> None:
    worker = running(ONE)
    made = update(**{"epoch": 1, "one": TWO, "end": worker.parameters.end, **changes})
    out = worker.shard.on_frame(frame([R, made, R]))
    assert plans(out) == [("one", 0, 0), ("one", 0, 2)]
    (row,) = ledger(out)
    assert row["event"] == "rejected"
    assert reason in row["reason"]


def test_a_carried_model_that_the_gate_rejects_gives_rows_with_errors() -> None:
    """The token is in the log, so its plan is in force."""
    worker, champion = running(ONE), model("u:1", ("humidity",))
    routes = (msgspec.structs.replace(ONE.plan.routes[0], champion=Pin(champion.ref, champion.digest)),)
    unfit = Deployable(msgspec.structs.replace(ONE.plan, name="unfit", routes=routes), ONE.schemas, (champion,))
    out = worker.shard.on_frame(frame([update(1, unfit, worker.parameters.end), R]))
    assert plans(out) == [("unfit", 1, 1)]
    (scored,) = [decode_scores(emission.value) for emission in out if emission.role == "scores"]
    assert scored.roles[0].errors.keys() == {0}


def test_it_waits_until_parameters_is_read() -> None:
    worker = running(ONE)
    end = worker.parameters.publish(THREE)
    assert plans(worker.shard.on_frame(frame([R, update(1, TWO, end), R]))) == [("one", 0, 0)]
    assert plans(worker.read()) == [("two", 1, 2)]


def test_a_restored_shard_finds_its_plan_in_its_state() -> None:
    worker = running(ONE)
    worker.shard.on_frame(frame([update(1, TWO, worker.parameters.end), R]))
    twin = restored(worker)
    assert twin.shard.snapshot() == worker.shard.snapshot()
    assert plans(twin.shard.on_frame(frame([R], first=2))) == [("two", 1, 2)]


def test_a_swap_to_a_plan_that_is_defined_carries_nothing() -> None:
    worker = running(ONE)
    end = worker.parameters.publish(THREE)
    worker.read()
    worker.shard.on_frame(frame([update(1, TWO, end), R, token(2, THREE.digest, end), R]))
    assert worker.shard.head.carried == b""
    assert plans(restored(worker).shard.on_frame(frame([R], first=4))) == [("three", 2, 4)]


def test_many_in_a_row_each_count_and_the_last_is_kept() -> None:
    worker = running(ONE)
    end = worker.parameters.end
    tokens = [update(epoch, (TWO, THREE)[epoch % 2], end) for epoch in range(1, 31)]
    out = worker.shard.on_frame(frame([payload for one in tokens for payload in (one, R)]))
    assert [epoch for _, epoch, _ in plans(out)] == list(range(1, 31))
    assert worker.shard.head.carried == body(TWO)


@pytest.mark.parametrize(("first", "found"), [(5, ("one", 0)), (6, ("two", 3))])
def test_a_start_behind_its_token_takes_the_newest_update(first: int, found: tuple[str, int]) -> None:
    parameters = parameters_of(ONE)
    cut(parameters, 2, THREE, 1)
    cut(parameters, 3, TWO, 5)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], first=first))) == [(*found, first)]


def test_a_start_takes_a_younger_swap_before_an_update() -> None:
    parameters = parameters_of(ONE, THREE)
    cut(parameters, 2, TWO, 3)
    parameters.cut(4, THREE.digest, {0: 5})
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], first=6))) == [("three", 4, 6)]


def test_its_token_publishes_no_snapshot() -> None:
    worker = running(ONE, snapshot_every_ms=1_000_000)
    out = worker.shard.on_frame(frame([update(1, TWO, worker.parameters.end), R]))
    assert len([emission for emission in out if emission.role == "snapshots"]) == 1
