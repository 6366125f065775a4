"""What a shard waits for, how long, and what lets it go on (C4)."""

from __future__ import annotations

from typing import Any

import pytest

from swapstream.models.errors import OutOfOrder
from swapstream.operators.abort import Abort
from swapstream.operators.judging import PATIENCE
from swapstream.operators.signing import Signer
from tests.support.sent import events, ledger, plans
from tests.support.shards import (
    DEPLOYMENT,
    NAMESPACE,
    Deployable,
    Parameters,
    Stored,
    Worker,
    deployable,
    frame,
    parameters_of,
    reading,
    token,
)

ANN, EVE = (Signer.from_seed(bytes([number]) * 32) for number in (1, 2))
ONE, TWO, THREE = (deployable(name, champion=f"{name}:1") for name in ("one", "two", "three"))
R = reading()
FAR = 1_000_000


def referring(blocking: bool = True, **assigned: Any) -> Worker:
    """Under plan "one"; the model of plan "two" lies in a store, which is away."""
    parameters = parameters_of(ONE)
    parameters.refer(TWO)
    worker = Worker(parameters, ONE.digest, blocking=blocking, **assigned)
    worker.read()
    return worker


def fill(worker: Worker, one: Deployable) -> None:
    """The store is back, and is asked again."""
    worker.store.artifacts = {artifact.digest: artifact.encode() for artifact in one.models}
    worker.time += 10


def waiting_for_more(signer: Signer | None = None, **assigned: Any) -> Worker:
    """It holds at offset 1, at a token for epoch 1 and plan "two", which is written but not read yet."""
    parameters = Parameters(signer)
    parameters.publish(ONE)
    worker = Worker(parameters, ONE.digest, **assigned)
    worker.read()
    parameters.publish(TWO)
    worker.shard.on_frame(frame([R, token(1, TWO.digest, parameters.end, signer=signer), R]))
    return worker


def abort(parameters: Parameters, epoch: int = 1, deployment: str = DEPLOYMENT) -> None:
    one = Abort(NAMESPACE, deployment, epoch)
    parameters.define("abort", one.name, one.encode())


def restarted(worker: Worker, stored: Stored) -> Worker:
    """Another worker, with what was stored, and what was read of `parameters`."""
    twin = Worker(worker.parameters, ONE.digest, end=0)
    twin.parameters.read(twin.definitions, worker.definitions.position)
    stored.restore(twin.shard)
    return twin


def stored(worker: Worker) -> Stored:
    found = Stored()
    found.write(worker.shard.changes())
    return found


# -- a store that is away


def test_records_are_held_while_a_store_is_away_and_go_on_under_the_new_plan() -> None:
    worker = referring()
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, worker.parameters.end), R]))
    assert plans(out) == [("one", 0, 0)]
    (row,) = ledger(out)
    assert (row["event"], row["offset"], row["epoch"], row["plan"]) == ("holding", 1, 1, TWO.digest)
    assert "models are not here yet" in row["reason"]
    assert worker.shard.on_frame(frame([R], first=3)) == []
    worker.time += 10
    assert worker.shard.on_timer() == []
    fill(worker, TWO)
    out = worker.shard.on_timer()
    assert plans(out) == [("two", 1, 2), ("two", 1, 3)]
    assert events(out) == ["activated", "released"]
    assert not worker.shard.waiting


def test_a_hold_survives_a_restart() -> None:
    worker = referring()
    worker.shard.on_frame(frame([R, token(1, TWO.digest, worker.parameters.end), R]))
    twin = restarted(worker, stored(worker))
    assert twin.shard.waiting
    assert twin.shard.on_timer() == []
    fill(twin, TWO)
    assert plans(twin.shard.on_timer()) == [("two", 1, 2)]


def test_a_shard_does_not_start_under_another_plan_because_a_store_is_away() -> None:
    parameters = parameters_of(ONE)
    parameters.refer(TWO)
    parameters.cut(1, TWO.digest, {0: 3})
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert worker.shard.on_frame(frame([R], first=4)) == []
    fill(worker, TWO)
    assert plans(worker.shard.on_timer()) == [("two", 1, 4)]


def test_but_it_does_where_an_abort_has_come() -> None:
    parameters = parameters_of(ONE)
    parameters.refer(TWO)
    parameters.cut(1, TWO.digest, {0: 3})
    abort(parameters)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], first=4))) == [("one", 0, 4)]


def test_an_abort_lets_a_start_pass_over_nothing_that_is_only_being_loaded() -> None:
    parameters = parameters_of(ONE, TWO)
    parameters.cut(1, TWO.digest, {0: 3})
    abort(parameters)
    worker = Worker(parameters, ONE.digest, blocking=False)
    worker.read()
    out = worker.shard.on_frame(frame([R], first=4))
    worker.pipelines.get(TWO.digest)
    assert plans([*out, *worker.shard.on_timer()]) == [("two", 1, 4)]


def test_nor_is_the_plan_at_submit_passed_over() -> None:
    parameters = Parameters()
    parameters.refer(TWO)
    worker = Worker(parameters, TWO.digest)
    worker.read()
    assert worker.shard.on_frame(frame([R])) == []
    fill(worker, TWO)
    assert plans(worker.shard.on_timer()) == [("two", 0, 0)]


def test_what_is_held_is_bounded_and_the_rest_stays_in_kafka() -> None:
    worker = referring(max_held=10 * len(R))
    worker.shard.on_frame(frame([R, token(1, TWO.digest, worker.parameters.end), *[R] * 5]))
    with pytest.raises(OutOfOrder, match="holds"):
        worker.shard.on_frame(frame([R] * 6, first=7))


def test_a_plan_that_nobody_loaded_is_waited_for_where_records_of_others_must_not_wait() -> None:
    worker = Worker(parameters_of(ONE, TWO), ONE.digest, blocking=False)
    worker.read()
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, worker.parameters.end), R]))
    for plan in (ONE, TWO):
        worker.pipelines.get(plan.digest)
        out += worker.shard.on_timer()
    assert plans(out) == [("one", 0, 0), ("two", 1, 2)]
    assert not worker.shard.waiting


def test_rows_tell_how_much_was_held_and_how_long() -> None:
    worker = referring(job="a job")
    worker.time = 100.0
    worker.shard.on_frame(frame([token(1, TWO.digest, worker.parameters.end), R]))
    worker.shard.on_frame(frame([R], first=2))
    fill(worker, TWO)
    activated, released = ledger(worker.shard.on_timer())
    assert (activated["took_ms"], released["took_ms"]) == (10_000, 10_000)
    assert released["held"] > 2 * len(R)
    assert (released["job"], released["attempt"]) == ("a job", 0)


# -- aborts


def test_an_abort_releases_a_shard_that_holds_into_the_plan_before() -> None:
    worker = waiting_for_more()
    end = worker.parameters.end
    abort(worker.parameters)
    again = token(1, TWO.digest, end)
    worker.shard.on_frame(frame([again, R], first=3))
    out = worker.read()
    assert plans(out) == [("one", 0, 2), ("one", 0, 4)]
    assert events(out) == ["aborted", "released", "rejected"]
    assert not worker.shard.waiting


def test_behind_an_abort_a_token_with_the_next_epoch_counts() -> None:
    worker = waiting_for_more()
    abort(worker.parameters)
    worker.read()
    back = frame([token(2, ONE.digest, worker.parameters.end), R], first=3)
    assert plans(worker.shard.on_frame(back)) == [("one", 2, 4)]


def test_an_abort_that_is_known_before_the_token_is_met_lets_it_hold_nothing() -> None:
    worker = referring()
    abort(worker.parameters)
    worker.read()
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, worker.parameters.end), R]))
    assert plans(out) == [("one", 0, 0), ("one", 0, 2)]
    assert events(out) == ["aborted"]


def test_a_shard_that_does_not_hold_takes_no_notice_of_an_abort() -> None:
    worker = Worker(parameters_of(ONE, TWO), ONE.digest)
    worker.read()
    end = worker.parameters.end
    abort(worker.parameters)
    worker.read()
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, end), R]))
    assert plans(out) == [("one", 0, 0), ("two", 1, 2)]
    assert plans(worker.shard.on_frame(frame([R], first=3))) == [("two", 1, 3)]


def test_a_forged_token_does_not_give_up_the_epoch_that_it_names() -> None:
    """An abort lets go of who holds at the token that was meant; who has yet to meet that one takes it."""
    worker = waiting_for_more(ANN)
    worker.read()
    end = worker.parameters.end
    worker.shard.on_frame(frame([token(2, TWO.digest, FAR, signer=EVE), R], first=3))
    abort(worker.parameters, epoch=2)
    assert events(worker.read()) == ["rejected", "released"]
    assert plans(worker.shard.on_frame(frame([token(2, ONE.digest, end, signer=ANN), R], first=5))) == [("one", 2, 6)]


@pytest.mark.parametrize(("epoch", "deployment"), [(2, DEPLOYMENT), (1, "another")])
def test_an_abort_of_something_else_releases_nothing(epoch: int, deployment: str) -> None:
    worker = referring()
    worker.shard.on_frame(frame([token(1, TWO.digest, worker.parameters.end), R]))
    abort(worker.parameters, epoch, deployment)
    assert worker.read() == []
    assert worker.shard.waiting


def test_an_abort_is_remembered_over_a_restart() -> None:
    worker = waiting_for_more()
    end = worker.parameters.end
    abort(worker.parameters)
    worker.read()
    twin = restarted(worker, stored(worker))
    assert events(twin.shard.on_frame(frame([token(1, TWO.digest, end), R], first=3))) == ["rejected"]


def test_a_shard_restored_from_before_the_abort_is_released_again() -> None:
    worker = waiting_for_more()
    state = stored(worker)
    abort(worker.parameters)
    twin = restarted(worker, state)
    assert plans(twin.read()) == plans(worker.read()) == [("one", 0, 2)]


# -- forged tokens that would stop a shard


def test_a_forged_token_stops_a_shard_only_for_a_while() -> None:
    parameters = Parameters(ANN)
    parameters.publish(ONE, TWO)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, FAR, signer=EVE), R]))
    assert events(out) == ["holding"]
    for _ in range(PATIENCE - 1):
        assert worker.shard.on_timer() == []
    out = worker.shard.on_timer()
    assert plans(out) == [("one", 0, 2)]
    rejected, released = ledger(out)
    assert (rejected["event"], released["event"]) == ("rejected", "released")
    assert rejected["reason"].startswith("signature: key")


def test_a_token_that_a_trusted_key_has_signed_is_waited_for_as_long_as_it_takes() -> None:
    worker = waiting_for_more(ANN)
    for _ in range(2 * PATIENCE):
        assert worker.shard.on_timer() == []
    assert plans(worker.read()) == [("two", 1, 2)]


def test_a_token_may_wait_for_its_key() -> None:
    parameters = Parameters(ANN)
    parameters.publish(ONE, TWO)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    parameters.tell("trust", EVE)
    assert events(worker.shard.on_frame(frame([token(1, TWO.digest, parameters.end, signer=EVE), R]))) == ["holding"]
    assert plans(worker.read()) == [("two", 1, 1)]


def test_every_hold_is_patient_anew() -> None:
    parameters = Parameters(ANN)
    parameters.publish(ONE, TWO)
    worker = Worker(parameters, ONE.digest)
    worker.read()
    forged = [token(epoch, TWO.digest, FAR, signer=EVE) for epoch in (1, 2)]
    worker.shard.on_frame(frame([forged[0], R, forged[1], R]))
    out = [worker.shard.on_timer() for _ in range(2 * PATIENCE)]
    assert [place + 1 for place, emissions in enumerate(out) if emissions] == [PATIENCE, 2 * PATIENCE]
