"""What a controller writes: together or not at all, one epoch after the other, and one controller at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from kafka.errors import InvalidProducerEpochError, KafkaError, KafkaTimeoutError, ProducerFencedError

from swapstream.models.errors import Conflict, InvalidDefinition, UnknownName, Untrusted
from swapstream.operators.cut import Cut
from swapstream.operators.signing import Signer
from swapstream.operators.statement import open_definition
from swapstream.operators.token import Token
from swapstream.operators.update import MAX_UPDATE
from swapstream.scripts import controller as module
from swapstream.scripts.acknowledge import ledger_row
from swapstream.scripts.controller import Controller, Swapped, fenced, swap
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author, Part, publish, read_definitions
from tests.support.shards import Deployable, deployable
from tests.support.topics import Topics

ME = Author("me", "a test")
FIRST, SECOND = deployable("p", champion="a:1"), deployable("p", champion="b:1")


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    return Topics(monkeypatch, partitions=3)


@pytest.fixture
def environment(tmp_path: Path, topics: Topics) -> Environment:
    """A namespace in which two plans are published."""
    made = Environment(directory=str(tmp_path))
    for one in (FIRST, SECOND):
        publish(made, "prod", parts(one), ME)
    topics.send(made.topics.telemetry.name, b"device", b"a reading", 1)
    return made


def parts(one: Deployable) -> list[Part]:
    return [Part(*definition) for definition in one.definitions()]


def controller(environment: Environment, author: Author = ME) -> Controller:
    return Controller(environment, "prod", "d", author)


def tokens(environment: Environment, topics: Topics) -> list[tuple[int, Token]]:
    """Partition and token, in the order in which they were written."""
    log = topics.records[environment.topics.telemetry.name]
    return [(record.partition, Token.decode(record.value)) for record in log if (record.value or b"")[:1] == b"\xc1"]


def events(environment: Environment, topics: Topics) -> list[tuple[str, int]]:
    rows = map(ledger_row, topics.records.get(environment.topics.ledger.name, []))
    return [(row["event"], row["epoch"]) for row in rows]


def test_a_swap_is_a_token_in_each_partition_and_their_map(environment: Environment, topics: Topics) -> None:
    end = read_definitions(environment).position
    done = swap(environment, "prod", "d", FIRST.digest, ME)
    assert done.written
    assert done.cut == Cut("prod", "d", 1, FIRST.digest, "telemetry", {0: 0, 1: 1, 2: 0})
    assert read_definitions(environment).cuts("prod", "d") == [done.cut]
    found = tokens(environment, topics)
    assert [partition for partition, _ in found] == [0, 1, 2] == [token.partition for _, token in found]
    for _, token in found:
        assert (token.kind, token.epoch, token.plan, token.topic) == ("swap", 1, FIRST.digest, "telemetry")
        assert (token.parameters_end, token.who, token.why) == (end, "me", "a test")
    assert events(environment, topics) == [("accepted", 1)]


def test_the_plan_in_force_is_not_swapped_to_again(environment: Environment, topics: Topics) -> None:
    first = swap(environment, "prod", "d", FIRST.digest, ME)
    before = dict(topics.records)
    again = swap(environment, "prod", "d", FIRST.digest, ME)
    assert again == Swapped(first.cut, False)
    assert topics.records == before


def test_epochs_only_grow(environment: Environment, topics: Topics) -> None:
    plans = [FIRST.digest, SECOND.digest, FIRST.digest]
    assert [swap(environment, "prod", "d", plan, ME).cut.epoch for plan in plans] == [1, 2, 3]
    with controller(environment) as one:
        kinds = [one.arrive(SECOND.digest), one.update(FIRST.plan, []), one.swap(SECOND.digest)]
    assert [done.cut.epoch for done in kinds] == [4, 5, 6]
    with controller(environment) as other:
        assert [step.epoch for step in other.history] == [1, 2, 3, 4, 5, 6]
        assert other.next_cut("x").epoch == 7


def test_another_deployments_epochs_do_not_count(environment: Environment, topics: Topics) -> None:
    swap(environment, "prod", "another", FIRST.digest, ME)
    assert swap(environment, "prod", "d", FIRST.digest, ME).cut.epoch == 1


def test_a_handover_names_both_jobs_in_tokens_map_and_ledger(environment: Environment, topics: Topics) -> None:
    swap(environment, "prod", "d", FIRST.digest, ME)
    with controller(environment) as one:
        done = one.handover(SECOND.digest, 1, 2, 2)
    found = [token for _, token in tokens(environment, topics)][3:]
    assert [(token.kind, token.predecessor, token.generation, token.epoch) for token in found] == [("handover", 1, 2, 2)] * 3
    assert read_definitions(environment).cuts("prod", "d")[-1] == done.cut
    assert (done.cut.predecessor, done.cut.successor, done.cut.plan) == (1, 2, SECOND.digest)
    row = ledger_row(topics.records[environment.topics.ledger.name][-1])
    assert (row["event"], row["epoch"], row["generation"]) == ("accepted", 2, 2)


def test_a_handover_is_written_once_whatever_came_behind_it(environment: Environment, topics: Topics) -> None:
    with controller(environment) as one:
        done = one.handover(SECOND.digest, 0, 1, 1)
    swap(environment, "prod", "d", FIRST.digest, ME)
    with controller(environment) as other:
        assert other.handed_over(1) == done.cut
        assert other.handover(SECOND.digest, 0, 1, 1) == Swapped(done.cut, False)
        assert other.handed_over(2) is None


def test_a_handover_from_an_epoch_that_is_past_is_refused(environment: Environment, topics: Topics) -> None:
    swap(environment, "prod", "d", FIRST.digest, ME)
    with controller(environment) as one, pytest.raises(Conflict, match="is in epoch 1 by now, and generation 2 was started to go on from"):
        one.handover(SECOND.digest, 1, 2, 1)
    assert events(environment, topics) == [("accepted", 1)]


def test_one_job_can_be_asked(environment: Environment, topics: Topics) -> None:
    with controller(environment) as one:
        one.prepare(SECOND.digest, 7)
    assert [(token.kind, token.generation, token.predecessor) for _, token in tokens(environment, topics)] == [("prepare", 7, 0)] * 3


def test_preparing_changes_nothing_but_asks_every_shard(environment: Environment, topics: Topics) -> None:
    with controller(environment) as one:
        asked = one.prepare(SECOND.digest)
        assert [token.kind for _, token in tokens(environment, topics)] == ["prepare"] * 3
        assert read_definitions(environment).cuts("prod", "d") == []
        done = one.swap(SECOND.digest)
    assert asked.cut.epoch == done.cut.epoch == 1
    assert all(done.cut.offsets[partition] > offset for partition, offset in asked.cut.offsets.items())
    assert events(environment, topics) == [("proposed", 1), ("accepted", 1)]


def test_of_two_controllers_the_older_is_told_and_writes_nothing(environment: Environment, topics: Topics) -> None:
    with controller(environment) as old:
        old.prepare(SECOND.digest)
        with controller(environment) as new:
            new.swap(FIRST.digest)
        before = {topic: len(log) for topic, log in topics.records.items()}
        with pytest.raises(Conflict, match="another controller has taken over prod/d: this one was fenced"):
            old.swap(SECOND.digest)
        assert {topic: len(log) for topic, log in topics.records.items()} == before
    assert [cut.plan for cut in read_definitions(environment).cuts("prod", "d")] == [FIRST.digest]


@pytest.mark.parametrize(("error", "whether"), [
    (ProducerFencedError(), True), (InvalidProducerEpochError(), True), (KafkaTimeoutError(), False), (KeyboardInterrupt(), False),
    (KafkaError(f"Cannot execute transactional method because we are in an error state: {ProducerFencedError()}"), True),
    (ValueError("ProducerFencedError"), False)])  # fmt: skip
def test_the_ways_in_which_a_client_says_that_it_was_fenced(error: BaseException, whether: bool) -> None:
    assert fenced(error) is whether


def test_a_plan_that_is_not_defined_writes_nothing(environment: Environment, topics: Topics) -> None:
    for write in (Controller.swap, Controller.prepare, Controller.arrive):
        with controller(environment) as one, pytest.raises(UnknownName, match="plan 777777777777… is not defined"):
            write(one, "7" * 64)
    assert tokens(environment, topics) == []


def test_what_fails_within_the_transaction_leaves_nothing(
    environment: Environment, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Speaker, "cut", fails)
    with pytest.raises(KeyboardInterrupt):
        swap(environment, "prod", "d", FIRST.digest, ME)
    assert tokens(environment, topics) == []
    assert read_definitions(environment).cuts("prod", "d") == []


def test_an_arrival_has_no_tokens(environment: Environment, topics: Topics) -> None:
    with controller(environment) as one:
        done = one.arrive(FIRST.digest)
    assert tokens(environment, topics) == []
    assert done.cut.arrival
    assert read_definitions(environment).arrivals("prod", "d") == [done.cut]


def test_of_updates_parameters_keeps_the_newest_under_one_key(environment: Environment, topics: Topics) -> None:
    with controller(environment) as one:
        cuts = [one.update(plan.plan, [b"model"]).cut for plan in (FIRST, SECOND)]
    keys = {record.key for record in topics.records[environment.topics.parameters.name] if b"/update/" in (record.key or b"")}
    assert keys == {b"prod/update/d"}
    assert read_definitions(environment).update_cut("prod", "d") == cuts[1]
    assert {token.body for _, token in tokens(environment, topics) if token.epoch == 2} != {b""}


def test_an_update_that_is_too_large_writes_nothing(environment: Environment, topics: Topics) -> None:
    with controller(environment) as one, pytest.raises(InvalidDefinition, match=f"at most {MAX_UPDATE}"):
        one.update(FIRST.plan, [bytes(MAX_UPDATE)])
    assert tokens(environment, topics) == []


def test_an_abort_goes_with_a_swap_back(environment: Environment, topics: Topics) -> None:
    for plan in (FIRST, SECOND):
        swap(environment, "prod", "d", plan.digest, ME)
    with controller(environment) as one:
        done = one.abort([2], FIRST.digest)
    definitions = read_definitions(environment)
    assert (done.cut.epoch, done.cut.plan) == (3, FIRST.digest)
    assert [definitions.aborted("prod", "d", epoch) for epoch in (1, 2, 3)] == [False, True, False]
    assert definitions.cuts("prod", "d")[-1] == done.cut


def test_an_abort_of_what_is_no_longer_in_force_swaps_nothing(environment: Environment, topics: Topics) -> None:
    for plan in (FIRST, SECOND, FIRST):
        swap(environment, "prod", "d", plan.digest, ME)
    with controller(environment) as one:
        assert one.abort([2], None).cut.epoch == 3
    assert read_definitions(environment).aborted("prod", "d", 2)
    assert len(tokens(environment, topics)) == 9


def test_everything_is_signed_by_the_authors_key(environment: Environment, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer.from_seed(b"s" * 32)
    monkeypatch.setattr(module, "require_trusted", lambda *_: None)
    with controller(environment, Author("me", "", signer)) as one:
        one.swap(FIRST.digest)
    log = topics.records[environment.topics.telemetry.name]
    written = [Token.open(record.value)[1] for record in log if (record.value or b"")[:1] == b"\xc1"]  # type: ignore[arg-type]
    assert len(written) == 3
    assert all(envelope.signed_by(signer.public, "token") for envelope in written)
    (cut,) = [record for record in topics.records[environment.topics.parameters.name] if b"/cut/" in (record.key or b"")]
    assert open_definition(cut.value or b"")[1].signed_by(signer.public, "definition")


def test_a_key_that_nobody_trusts_is_refused_before_anything_is_written(environment: Environment, topics: Topics) -> None:
    with pytest.raises(Untrusted), controller(environment, Author("me", "", Signer.from_seed(b"s" * 32))):
        pass
    assert tokens(environment, topics) == []
