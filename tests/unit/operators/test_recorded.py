"""What the telemetry log alone doesn't tell, and verification takes from what was put out: arrivals, aborts, tokens nobody signed."""

from __future__ import annotations

import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.abort import Abort
from swapstream.operators.cut import Cut
from swapstream.operators.recorded import Recorded, beginnings
from swapstream.operators.scores import decode_scores
from swapstream.operators.signing import Signer
from swapstream.operators.update import Update, UpdateCut
from swapstream.operators.verification import COMPARED
from tests.support.past import Past
from tests.support.shards import DEPLOYMENT, EWM, NAMESPACE, TOPIC, Deployable, Worker, deployable, frame, token
from tests.support.wire_check import Findings, Message, check
from tests.unit.operators.test_verification import wrong

ONE = deployable("one", extractor=EWM, champion="b:1")
TWO = deployable("two", extractor=EWM, champion="c:1")
THREE = deployable("three", extractor=EWM, champion="d:1")


def lived(made: Past, worker: Worker, upto: int, size: int = 7) -> None:
    """Let a worker run the records up to an offset."""
    last = worker.shard.head.last
    part = [(offset, payload) for offset, payload in made.log if last < offset < upto]
    for place in range(0, len(part), size):
        some = part[place : place + size]
        made.emissions += worker.shard.on_frame(frame([p for _, p in some], offsets=[o for o, _ in some]))


def epochs(made: Past) -> list[int]:
    found = [decode_scores(value).provenance.epoch for role, value in made.output if role == "scores"]
    return sorted(set(found))


def wire(made: Past) -> Findings:
    """What the independent check says."""
    said = {role: [Message(0, n, one.value) for n, one in enumerate(made.emissions) if one.role == role] for role in (*COMPARED, "ledger")}
    telemetry = [Message(0, offset, payload) for offset, payload in made.log]
    parameters = [Message(0, n, value) for n, value in enumerate(made.parameters.records)]
    output = [*said["scores"], *said["features"]]
    return check(telemetry, parameters, output, said["dead_letters"], said["ledger"], NAMESPACE, DEPLOYMENT, plan=made.plans[0].digest)


def arrive(made: Past, epoch: int, plan: Deployable) -> None:
    made.parameters.cut(epoch, plan.digest, {}, arrival=True)


def update(made: Past, epoch: int, plan: Deployable) -> None:
    """An update at arrival, with the plan and the model inside."""
    cut = Cut(NAMESPACE, DEPLOYMENT, epoch, plan.digest, TOPIC, {}, arrival=True)
    body = Update(plan.plan.encode(), [model.encode() for model in plan.models]).encode()
    made.parameters.define("update", DEPLOYMENT, UpdateCut(cut.encode(), body).encode())


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("told", [False, True])
def test_a_cut_at_arrival_counts_from_where_it_was_put_out(size: int, told: bool) -> None:
    made = Past(ONE, TWO, THREE)
    made.readings(90)
    worker = made.worker()
    for epoch, (plan, place) in enumerate(((TWO, 30), (THREE, 65)), start=1):
        lived(made, worker, made.log[place][0])
        arrive(made, epoch, plan)
        worker.read()
    lived(made, worker, made.end)
    assert epochs(made) == [0, 1, 2]
    begins = beginnings(one.about for one in made.snapshots) if told else {}
    assert wrong(made.verify(size=size, begins=begins)) == {}
    assert wire(made).lines == []


def test_updates_at_arrival_are_taken_from_snapshots_where_parameters_has_only_the_last() -> None:
    made = Past(ONE)
    made.readings(90)
    worker = made.worker()
    for epoch, (plan, place) in enumerate(((TWO, 30), (THREE, 65)), start=1):
        lived(made, worker, made.log[place][0])
        update(made, epoch, plan)
        worker.read()
    lived(made, worker, made.end)
    assert epochs(made) == [0, 1, 2]
    assert wrong(made.verify()) == {}
    assert [one.about.epoch for one in made.snapshots if one.about.why == "arrival"] == [1, 2]
    made.emissions = [emission for emission in made.emissions if emission.role != "snapshots"]
    assert wrong(made.verify())


def test_updates_inside_tokens_are_taken_from_telemetry_alone() -> None:
    made = Past(ONE)
    for epoch, plan in enumerate((TWO, THREE), start=1):
        made.readings(30)
        body = Update(plan.plan.encode(), [model.encode() for model in plan.models]).encode()
        made.append(token(epoch, plan.digest, made.parameters.end, kind="update", body=body))
    made.readings(30)
    made.live()
    assert epochs(made) == [0, 1, 2]
    assert wrong(made.verify()) == {}
    before = next(one for one in made.snapshots if one.about.epoch == 1)
    assert wrong(made.verify(first=before.about.offset + 1, before=before)) == {}
    assert wire(made).lines == []


def test_an_arrival_that_reached_nobody_begins_nowhere() -> None:
    made = Past(ONE, TWO)
    made.readings(30)
    made.live()
    arrive(made, 1, TWO)
    assert epochs(made) == [0]
    assert wrong(made.verify()) == {}


def aborted(seen: bool) -> Past:
    """A swap whose plan comes late; an abort comes before it, or after the shard has acted on the token."""
    made = Past(ONE)
    made.readings(30)
    worker = made.worker()
    end = made.parameters.end + len(TWO.definitions())
    made.append(token(1, TWO.digest, end))
    made.readings(30)
    lived(made, worker, made.end)
    assert worker.shard.waiting
    if seen:
        made.parameters.publish(TWO)
        made.emissions += worker.read()
    made.parameters.define("abort", Abort(NAMESPACE, DEPLOYMENT, 1).name, Abort(NAMESPACE, DEPLOYMENT, 1).encode())
    made.emissions += worker.read()
    if not seen:
        made.parameters.publish(TWO)
        made.emissions += worker.read()
    made.readings(30)
    lived(made, worker, made.end)
    assert not worker.shard.waiting
    return made


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("size", [1, 40])
def test_an_abort_counts_where_the_shard_still_held(seen: bool, size: int) -> None:
    made = aborted(seen)
    assert epochs(made) == ([0, 1] if seen else [0])
    assert wrong(made.verify(size=size)) == {}


def test_a_token_of_an_unknown_key_that_names_the_future_is_given_up_as_it_was() -> None:
    known, forger = Signer.new(), Signer.new()
    made = Past(ONE, TWO)
    made.parameters.signer = known
    made.parameters.tell("trust", known)
    worker = made.worker()
    made.readings(20)
    made.append(token(1, TWO.digest, 10**6, signer=forger))
    made.readings(20)
    lived(made, worker, made.end)
    while worker.shard.waiting:
        made.emissions += worker.shard.on_timer()
    found = made.verify()
    assert wrong(found) == {}
    assert found.held is None


def test_a_shard_that_still_holds_says_where() -> None:
    made = Past(ONE)
    made.readings(20)
    offset = made.append(token(1, TWO.digest, 10**6))
    made.readings(20)
    made.live()
    found = made.verify()
    assert wrong(found) == {}
    assert found.held == offset


def test_a_snapshot_without_an_update_carries_none() -> None:
    made = Past(ONE)
    made.readings(3)
    made.live()
    with pytest.raises(InvalidDefinition):
        Recorded().carry(made.snapshots[0])
