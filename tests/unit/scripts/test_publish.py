"""Publishing definitions: what is there is not written again, a name that is taken is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from swapstream.models.artifact import payload_digest
from swapstream.models.build import train
from swapstream.models.errors import Conflict, InvalidSettings, Rejected
from swapstream.models.store import Store
from swapstream.operators.definitions import Definitions
from swapstream.operators.lookup import missing
from swapstream.operators.statement import decode_definition, encode_definition
from swapstream.scripts.environment import Environment, Flink
from swapstream.scripts.publish import MAX_INLINE, Author, Part, plan_parts, publish, publish_plan, read_definitions
from tests.support.shards import FIELDS, model
from tests.support.topics import Topics

ME = Author("me", "a test")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "pumps.yaml").write_text("{name: pumps, fields: [temperature, pressure]}")
    (tmp_path / "plan.yaml").write_text("{name: p, schema: pumps.yaml, champion: 'a:1', canary: 'b:1'}")
    made = Environment(directory=str(tmp_path))
    for ref in ("a:1", "b:1"):
        Store(made.store).put(model(ref, FIELDS))
    return made


def test_a_plan_goes_out_after_all_that_it_needs(environment: Environment, topics: Topics, tmp_path: Path) -> None:
    plan, definitions = publish_plan(environment, "prod", str(tmp_path / "plan.yaml"), ME)
    log = topics.records[environment.topics.parameters.name]
    said = [decode_definition(record.value or b"") for record in log]
    assert [(one.kind, one.name) for one in said] == [
        ("schema", "pumps"),
        ("model", "a:1"),
        ("model", "b:1"),
        ("plan", "p"),
    ]
    assert {(one.who, one.why) for one in said} == {("me", "a test")}
    assert [record.key for record in log] == [f"prod/{s.kind}/{s.name}/{s.digest}".encode() for s in said]
    assert definitions.position == 4
    assert missing(definitions, "prod", plan.digest) is None


def test_publishing_again_writes_nothing(environment: Environment, topics: Topics, tmp_path: Path) -> None:
    for _ in range(2):
        _, definitions = publish_plan(environment, "prod", str(tmp_path / "plan.yaml"), ME)
        assert definitions.position == 4
    assert len(topics.records[environment.topics.parameters.name]) == 4


def test_another_namespace_is_another_world(environment: Environment, topics: Topics, tmp_path: Path) -> None:
    for namespace in ("prod", "alice"):
        publish_plan(environment, namespace, str(tmp_path / "plan.yaml"), ME)
    assert len(topics.records[environment.topics.parameters.name]) == 8


def test_a_name_that_is_taken_is_refused_with_nothing_written(environment: Environment, topics: Topics, tmp_path: Path) -> None:
    publish(environment, "prod", [Part("model", "b:1", b"another one's")], ME)
    with pytest.raises(Conflict, match="model 'b:1' is defined already"):
        publish_plan(environment, "prod", str(tmp_path / "plan.yaml"), ME)
    assert len(topics.records[environment.topics.parameters.name]) == 1


def test_one_who_came_too_late_for_a_name_is_told_so_the_second_time_as_well(environment: Environment, topics: Topics) -> None:
    publish(environment, "prod", [Part("model", "m:1", b"first")], ME)
    late = Part("model", "m:1", b"second")
    _, value = encode_definition(late.kind, "prod", late.name, late.body, "somebody", 1, "")
    topics.send(environment.topics.parameters.name, b"", value)
    with pytest.raises(Conflict, match="is defined already"):
        publish(environment, "prod", [late], ME)


def test_one_who_is_overtaken_between_reading_and_writing_is_told_so(
    environment: Environment, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(environment, "prod", [Part("model", "m:1", b"first")], ME)
    reads = iter([Definitions(), read_definitions(environment)])
    monkeypatch.setattr("swapstream.scripts.publish.read_definitions", lambda _: next(reads))
    with pytest.raises(Conflict, match="model 'm:1' is defined already"):
        publish(environment, "prod", [Part("model", "m:1", b"second")], ME)


def test_a_large_model_goes_into_the_store_and_is_referred_to(environment: Environment, topics: Topics) -> None:
    artifact = train("pca", np.random.default_rng(0).normal(size=(400, 300)), tuple(f"f{i}" for i in range(300)), name="large", version=1)
    body = artifact.encode()
    assert len(body) > MAX_INLINE
    definitions = publish(environment, "prod", [Part("model", "large:1", body)], ME)
    said = definitions.statement("prod", "model", artifact.digest)
    assert said is not None
    assert (said.body, said.size, said.where) == (b"", len(body), f"objects/{artifact.digest}")
    assert Store(environment.store).read(said.digest) == body
    publish(environment, "prod", [Part("model", "large:1", body)], ME)
    assert len(topics.records[environment.topics.parameters.name]) == 1
    with pytest.raises(Conflict, match="model 'large:1' is defined already"):
        publish(environment, "prod", [Part("model", "large:1", b"small")], ME)


def test_a_large_model_is_not_sent_where_no_worker_could_find_it(environment: Environment, topics: Topics) -> None:
    away = msgspec.structs.replace(environment, flink=Flink(rest="http://somewhere:8081"))
    with pytest.raises(InvalidSettings, match=r"model large:1 has \d+ bytes: above 262144 it goes through the store"):
        publish(away, "prod", [Part("model", "large:1", bytes(MAX_INLINE + 1))], ME)
    assert topics.records == {}


def test_what_is_no_definition_is_passed_over(environment: Environment, topics: Topics) -> None:
    for value in (b"nonsense", None, b"\xdd\xff\xff\xff\xff"):
        topics.send(environment.topics.parameters.name, b"x", value)
    assert read_definitions(environment).position == 3


def test_parts_follow_from_the_plan_file_alone(environment: Environment, tmp_path: Path) -> None:
    plan, parts = plan_parts(environment, str(tmp_path / "plan.yaml"))
    assert plan.name == "p"
    assert parts[-1].body == plan.encode()


def test_a_plan_with_a_model_that_the_gate_refuses_writes_nothing(
    environment: Environment, topics: Topics, tmp_path: Path
) -> None:
    good = model("c:1", FIELDS)
    wrong = good.golden_scores + 1.0
    digest = payload_digest(good.parameters, good.graph, good.golden_inputs, wrong)
    manifest = msgspec.structs.replace(good.manifest, digest=digest)
    Store(environment.store).put(msgspec.structs.replace(good, manifest=manifest, golden_scores=wrong))
    (tmp_path / "plan.yaml").write_text("{name: p, schema: pumps.yaml, champion: 'a:1', canary: 'c:1'}")
    with pytest.raises(Rejected, match=r"^c:1: golden: row 0 scores"):
        publish_plan(environment, "prod", str(tmp_path / "plan.yaml"), ME)
    assert topics.records == {}
