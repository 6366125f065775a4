"""Answers to prepare tokens: no record waits for them, and nothing changes (C3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.operators.judging import PATIENCE
from swapstream.operators.outputs import Emission
from swapstream.operators.plan import Pin
from swapstream.operators.preparing import GIVE_UP, MAX_BYTES, MAX_PENDING
from swapstream.operators.scores import decode_scores
from swapstream.operators.signing import Signer
from tests.support.sent import ledger, plans
from tests.support.shards import (
    Deployable,
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

ANN, EVE = (Signer.from_seed(bytes([number]) * 32) for number in (1, 2))
ONE, TWO = deployable("one", champion="a:1"), deployable("two", champion="b:1")
R = reading()
FAR = 1_000_000


def unfit() -> Deployable:
    """A plan whose champion takes other features than there are."""
    champion = model("u:1", ("humidity",))
    routes = (msgspec.structs.replace(ONE.plan.routes[0], champion=Pin(champion.ref, champion.digest)),)
    return Deployable(msgspec.structs.replace(ONE.plan, name="unfit", routes=routes), ONE.schemas, (champion,))


def prepare(plan: str, end: int, epoch: int = 1, **changes: Any) -> bytes:
    return token(epoch, plan, end, kind="prepare", **changes)


def answers(emissions: list[Emission]) -> list[tuple[str, int, int]]:
    return [(row["event"], row["offset"], row["epoch"]) for row in ledger(emissions)]


def test_a_plan_that_could_begin_is_prepared_and_nothing_changes() -> None:
    worker = running(ONE, TWO, job="a job")
    out = worker.shard.on_frame(frame([R, prepare(TWO.digest, worker.parameters.end), R]))
    assert plans(out) == [("one", 0, 0), ("one", 0, 2)]
    (row,) = ledger(out)
    assert (row["event"], row["offset"], row["epoch"], row["plan"]) == ("prepared", 1, 1, TWO.digest)
    assert (row["job"], row["attempt"], row["took_ms"], row["time"]) == ("a job", 0, 0, 1_001)
    assert not worker.shard.waiting
    assert worker.shard.head.epoch == 0


def test_a_plan_that_the_gate_rejects_is_refused_and_the_champion_stays() -> None:
    worker = running(ONE, unfit())
    out = worker.shard.on_frame(frame([prepare(unfit().digest, worker.parameters.end), R]))
    assert plans(out) == [("one", 0, 1)]
    (row,) = ledger(out)
    assert row["event"] == "refused"
    assert "u:1" in row["reason"]
    assert "humidity" in row["reason"]


def test_once_its_token_is_written_such_a_plan_takes_effect_all_the_same() -> None:
    worker = running(ONE, unfit())
    out = worker.shard.on_frame(frame([token(1, unfit().digest, worker.parameters.end), R]))
    assert plans(out) == [("unfit", 1, 1)]
    (scored,) = [decode_scores(emission.value) for emission in out if emission.role == "scores"]
    assert scored.roles[0].errors.keys() == {0}


def test_a_plan_that_is_not_defined_or_whose_store_is_away_is_refused() -> None:
    parameters = parameters_of(ONE)
    parameters.refer(TWO)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    end = parameters.end
    rows = ledger(worker.shard.on_frame(frame([prepare("0" * 64, end), prepare(TWO.digest, end), prepare(TWO.digest, 1)])))
    assert [row["event"] for row in rows] == ["refused"] * 3
    for row, reason in zip(rows, ("plan 000000000000… is not defined", "is away", "is not defined below offset 1"), strict=True):
        assert reason in row["reason"]


def test_no_record_waits_while_parameters_is_not_read_far_enough() -> None:
    worker = running(ONE)
    end = worker.parameters.publish(TWO)
    out = worker.shard.on_frame(frame([R, prepare(TWO.digest, end), R]))
    assert plans(out) == [("one", 0, 0), ("one", 0, 2)]
    assert answers(out) == []
    assert worker.shard.waiting
    assert answers(worker.read(end - 1)) == []
    assert answers(worker.read(end)) == [("prepared", 1, 1)]
    assert not worker.shard.waiting
    assert worker.read() == []


def test_what_is_not_answered_is_answered_after_a_restart() -> None:
    worker, stored = running(ONE), Stored()
    end = worker.parameters.publish(TWO)
    worker.shard.on_frame(frame([prepare(TWO.digest, end), R]))
    stored.write(worker.shard.changes())
    twin = Worker(worker.parameters, ONE.digest, end=0)
    worker.parameters.read(twin.definitions, worker.definitions.position)
    stored.restore(twin.shard)
    assert twin.shard.waiting
    assert answers(twin.read()) == [("prepared", 0, 1)]
    stored.write(twin.shard.changes())
    third = Worker(worker.parameters, ONE.digest)
    third.read()
    stored.restore(third.shard)
    assert not third.shard.waiting


def test_loading_is_waited_for_on_the_timer() -> None:
    worker = Worker(parameters_of(ONE, TWO), ONE.digest, blocking=False)
    worker.read()
    out = worker.shard.on_frame(frame([R, prepare(TWO.digest, worker.parameters.end), R]))
    for plan in (ONE, TWO):
        worker.pipelines.get(plan.digest)
        out += worker.shard.on_timer()
    assert ("prepared", 1, 1) in answers(out)
    assert plans(out) == [("one", 0, 0), ("one", 0, 2)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": 4}, "epoch 4 is not above 4"),
        ({"partition": 7, "end": FAR}, "written for telemetry-7"),
        ({"topic": "another", "end": FAR}, "written for another-0"),
    ],
)
def test_one_that_can_have_no_effect_is_rejected(changes: dict[str, Any], reason: str) -> None:
    worker = running(ONE, TWO)
    worker.shard.on_frame(frame([token(4, TWO.digest, worker.parameters.end)]))
    (row,) = ledger(worker.shard.on_frame(frame([prepare(**{"plan": ONE.digest, "end": worker.parameters.end, **changes})], first=1)))
    assert row["event"] == "rejected"
    assert reason in row["reason"]
    assert not worker.shard.waiting


def test_a_swap_that_comes_first_ends_the_wait() -> None:
    worker = running(ONE, TWO)
    end = worker.parameters.end
    worker.shard.on_frame(frame([prepare(TWO.digest, end + 1), token(1, TWO.digest, end), R]))
    (row,) = ledger(worker.shard.on_timer())
    assert (row["event"], row["offset"]) == ("refused", 0)
    assert "epoch 1 is not above 1" in row["reason"]


def test_nobody_forges_one() -> None:
    worker = running(ONE, TWO, signer=ANN)
    end = worker.parameters.end
    good, forged, far = prepare(TWO.digest, end, signer=ANN), prepare(TWO.digest, end), prepare(TWO.digest, FAR, signer=EVE)
    out = worker.shard.on_frame(frame([good, forged, far, R]))
    assert answers(out) == [("prepared", 0, 1), ("rejected", 1, 1)]
    assert ledger(out)[1]["reason"].startswith("signature: none")
    late = [row for _ in range(PATIENCE) for row in ledger(worker.shard.on_timer())]
    assert [(row["event"], row["offset"]) for row in late] == [("rejected", 2)]
    assert not worker.shard.waiting


def test_of_many_that_wait_the_last_ones_do() -> None:
    worker = running(ONE)
    tokens = [prepare(TWO.digest, FAR, epoch) for epoch in range(1, MAX_PENDING + 3)]
    assert answers(worker.shard.on_frame(frame(tokens))) == [("refused", 0, 1), ("refused", 1, 2)]
    assert len(worker.shard.head.preparing) == MAX_PENDING


def test_one_that_waits_too_long_and_one_that_is_too_large_are_refused() -> None:
    worker = running(ONE)
    rows = ledger(worker.shard.on_frame(frame([prepare(TWO.digest, FAR), prepare(TWO.digest, FAR, why="x" * MAX_BYTES)])))
    assert [(row["offset"], row["event"]) for row in rows] == [(1, "refused")]
    assert rows[0]["reason"].startswith("size: ")
    rows = [row for _ in range(GIVE_UP) for row in ledger(worker.shard.on_timer())]
    assert [(row["offset"], row["event"]) for row in rows] == [(0, "refused")]


def test_the_answers_of_two_jobs_are_two_rows() -> None:
    ids = set()
    for job in ("blue", "green"):
        worker = running(ONE, TWO, job=job)
        ids |= {row["id"] for row in ledger(worker.shard.on_frame(frame([prepare(TWO.digest, worker.parameters.end)])))}
    assert len(ids) == 2
