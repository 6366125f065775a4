"""`swapstream check`, and what a plan requires: every check a row, the first refusal one line, champions on the same records."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas
import pytest
from click.testing import CliRunner, Result
from kafka import TopicPartition
from sklearn.metrics import average_precision_score

from swapstream.models import Store, train
from swapstream.models.errors import InvalidSettings, Rejected, UnknownName
from swapstream.operators.cut import Cut
from swapstream.operators.frame import Float64
from swapstream.operators.labels import DeviceSpan, Label, Labels, RecordId
from swapstream.operators.plan import Require
from swapstream.operators.statement import encode_definition
from swapstream.operators.token import FIRST_BYTE
from swapstream.scripts import bounds, samples
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.kafka import Record
from swapstream.scripts.main import cli
from swapstream.scripts.publish import Part, plan_parts
from swapstream.scripts.quality import Compared, Shown, judged, require
from swapstream.scripts.samples import last_records, marked
from swapstream.scripts.trusting import trust_first
from tests.support.bad_artifacts import bad_artifact, good, names, too_large
from tests.support.shards import FIELDS, deployable, reading
from tests.support.topics import Topics

SCHEMA = "{name: pumps, fields: [temperature, pressure]}"
N = 400


def values() -> Float64:
    """Every 50th reading is far off."""
    found = np.random.default_rng(5).normal(size=(N, 2))
    found[::50] += 9
    return found


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """A store with pump:1 and a blunter pump:2, a plan of pump:1, files with and without labels."""
    monkeypatch.chdir(tmp_path)
    Path("env.yaml").write_text(f"directory: {tmp_path}/run\n")
    Path("pumps.yaml").write_text(SCHEMA)
    plan_of("plan.yaml")
    made = load_environment("env.yaml")
    store = Store(made.store)
    normal = np.random.default_rng(1).normal(size=(2_000, 2))
    store.put(train("zscore", normal, FIELDS, name="pump", version=1, threshold=4.0))
    store.put(train("zscore", normal, FIELDS, name="pump", version=2, threshold=1.5))
    store.put(train("zscore", normal, FIELDS[::-1], name="fan", version=1))
    table = pandas.DataFrame(values(), columns=list(FIELDS)).assign(time=np.arange(N), device="p-1")
    table.to_csv("plain.csv", index=False)
    table.assign(label=np.arange(N) % 50 == 0).to_csv("labelled.csv", index=False)
    return made


def plan_of(path: str, **more: Any) -> None:
    plan = {"name": "p", "schema": "pumps.yaml", "champion": "pump:1", **more}
    Path(path).write_bytes(msgspec.yaml.encode(plan))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--environment", "env.yaml", "check", *arguments, "--json"], standalone_mode=False)


def rows(result: Result) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in map(json.loads, result.stdout.splitlines())}


# -- the gate, row by row


def test_each_check_has_a_row_with_value_and_limit(environment: Environment) -> None:
    result = run("pump")
    found = rows(result)
    assert result.exception is None
    assert list(found) == ["format", "size", "digest", "kind", "finite", "load", "budget", "golden", "bitwise"]
    assert all(row["ok"] and row["value"] and row["limit"] for row in found.values())
    assert found["format"]["value"] == "artifact pump:2"


def test_a_file_is_checked_as_well(environment: Environment) -> None:
    Path("good.artifact").write_bytes(good())
    found = rows(run("good.artifact"))
    assert found["signature"]["value"] == "x float32[64, 2] to y"
    assert found["external"] == {"check": "external", "value": "none", "limit": "no tensor in another file", "ok": True}


@pytest.mark.parametrize("name", [name for name in names() if bad_artifact(name).check not in ("features", "budget")])
def test_a_bad_file_is_refused_in_one_line_by_name(environment: Environment, name: str) -> None:
    bad = bad_artifact(name)
    Path("bad.artifact").write_bytes(bad.data)
    result = run("bad.artifact")
    if name == "another ones name":  # it is only not the one that a plan means
        assert result.exception is None
        return
    line = str(result.exception)
    assert isinstance(result.exception, Rejected)
    assert line.startswith(f"bad.artifact: {bad.check}: ")
    assert bad.said in line
    assert "\n" not in line
    refused = [check for check, row in rows(result).items() if not row["ok"]]
    assert refused == [bad.check] == list(rows(result))[-1:]


def test_a_file_that_is_far_too_large_is_not_read_whole(environment: Environment) -> None:
    with open("large.artifact", "wb") as file:
        file.write(too_large())
        os.truncate("large.artifact", 10 * 2**30)
    assert rows(run("large.artifact"))["size"]["ok"] is False


def test_a_stored_object_that_was_changed_is_refused_by_its_digest(environment: Environment) -> None:
    store = Store(environment.store)
    path = Path(environment.store) / "objects" / store.resolve("pump:1").digest
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    line = str(run("pump:1").exception)
    assert line.startswith("pump:1: digest: ")
    assert "is damaged" in line


@pytest.mark.parametrize(("model", "error"), [("nope", UnknownName), ("pump:9", UnknownName), ("nope.artifact", InvalidSettings),
                                              ("run", InvalidSettings), ("../nope", InvalidSettings)])  # fmt: skip
def test_what_is_not_there_is_no_row(environment: Environment, model: str, error: type[Exception]) -> None:
    result = run(model)
    assert isinstance(result.exception, error)
    assert result.stdout == ""


# -- with a plan


def test_the_extractor_must_yield_the_features(environment: Environment) -> None:
    assert rows(run("pump:2", "--plan", "plan.yaml"))["features"]["value"] == "2 columns"
    line = str(run("fan:1", "--plan", "plan.yaml").exception)
    assert line == "fan:1: features: column 0 is 'temperature'; the model reads 'pressure' there"


def test_a_model_of_another_extractor_does_not_fit_the_plan(environment: Environment) -> None:
    store = Store(environment.store)
    made = store.get("pump:2")
    lineage = msgspec.structs.replace(made.manifest.lineage, extractor="identity:1:ab")
    store.put(msgspec.structs.replace(made, manifest=msgspec.structs.replace(made.manifest, version=3, lineage=lineage)))
    line = str(run("pump:3", "--plan", "plan.yaml").exception)
    assert line.startswith("pump:3: plan: ")
    assert "was trained on features of extractor identity:1:ab" in line


def test_alarm_rates_of_both_are_of_the_same_records(environment: Environment) -> None:
    found = rows(run("pump:2", "--plan", "plan.yaml", "--against", "plain.csv"))
    store = Store(environment.store)
    rates = []
    for version in (1, 2):
        said = store.get(f"pump:{version}").manifest
        scores = np.abs((values() - said.reference.mean) / said.reference.deviation).max(axis=1)
        rates.append((scores > said.threshold).mean())
    assert found["alarm_rate"]["value"] == f"{rates[1]:.4g} of pump:2 on {N} records, {rates[0]:.4g} of pump:1"
    assert found["alarm_rate_ratio"]["value"].startswith(f"{rates[1] / rates[0]:.4g} of pump:2")
    assert "average_precision" not in found


def test_average_precision_is_scikit_learns_where_records_are_labelled(environment: Environment) -> None:
    found = rows(run("pump:2", "--plan", "plan.yaml", "--against", "labelled.csv"))
    said = Store(environment.store).get("pump:2").manifest
    scores = np.abs((values() - said.reference.mean) / said.reference.deviation).max(axis=1)
    expected = average_precision_score(np.arange(N) % 50 == 0, scores)
    assert found["average_precision"]["value"] == f"{expected:.4g} of pump:2 on {N} records, {expected:.4g} of pump:1"


@pytest.mark.parametrize(
    ("limits", "file", "line"),
    [
        ({"max_alarm_rate": 0.05}, "plain.csv", r"alarm_rate: 0\.\d+ of pump:2 on 400 records, 0\.02 of pump:1; at most 0\.05"),
        ({"max_alarm_rate_ratio": 2.0}, "plain.csv", r"alarm_rate_ratio: \d+\.\d+ of pump:2 on 400 records; at most 2"),
        ({"min_average_precision": 0.5}, "plain.csv", r"average_precision: unknown of pump:2 on 400 records; at least 0\.5"),
    ],
)
def test_limits_of_the_plan_must_hold(environment: Environment, limits: dict[str, float], file: str, line: str) -> None:
    plan_of("plan.yaml", require=limits)
    result = run("pump:2", "--plan", "plan.yaml", "--against", file)
    assert isinstance(result.exception, Rejected)
    assert re.fullmatch(f"pump:2: {line}", str(result.exception)), str(result.exception)


def test_limits_that_hold(environment: Environment) -> None:
    plan_of("plan.yaml", require={"max_alarm_rate": 0.5, "max_alarm_rate_ratio": 100, "min_average_precision": 0.9})
    result = run("pump:2", "--plan", "plan.yaml", "--against", "labelled.csv")
    assert result.exception is None
    assert rows(result)["average_precision"]["limit"] == "at least 0.9"


def test_without_records_what_is_required_is_only_mentioned(environment: Environment) -> None:
    plan_of("plan.yaml", require={"max_alarm_rate": 0.05})
    result = run("pump:2", "--plan", "plan.yaml")
    assert result.exception is None
    assert "only --against can tell" in result.stderr


def test_the_first_model_of_a_plan_has_none_beside_it(environment: Environment) -> None:
    Path("first.yaml").write_text("{name: p, schema: pumps.yaml}")
    found = rows(run("pump:2", "--plan", "first.yaml", "--against", "plain.csv"))
    assert found["alarm_rate"]["value"].endswith("of pump:2 on 400 records")
    assert "alarm_rate_ratio" not in found


@pytest.mark.parametrize("arguments", [["--against", "plain.csv"], ["--plan", "plan.yaml", "--against", "last:0"],
                                       ["--plan", "plan.yaml", "--against", "last:x"], ["--route", "*"]])  # fmt: skip
def test_what_can_not_be_compared_is_said(environment: Environment, arguments: list[str]) -> None:
    assert isinstance(run("pump:2", *arguments).exception, InvalidSettings)


# -- telemetry


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    monkeypatch.setattr(samples, "starts", lambda *_: {})
    return Topics(monkeypatch)


def telemetry(environment: Environment, topics: Topics) -> None:
    """What does not count and then the readings of the files, with labels."""
    topic = environment.topics.telemetry.name
    topics.send(topic, b"p-1", reading("p-1", (900.0, 900.0)))
    for place, row in enumerate(values().tolist()):
        topics.send(topic, b"p-1", reading("p-1", row, time=place * 1_000))
        if place % 100 == 0:
            topics.send(topic, None, FIRST_BYTE + b"a token")
            topics.send(environment.topics.labels.name, b"", fault("p-1", place * 10**6, place * 10**6).encode())
    topics.send(environment.topics.labels.name, b"", b"no label")


def test_the_last_records_of_telemetry_are_read_and_labelled(environment: Environment, topics: Topics) -> None:
    telemetry(environment, topics)
    found = rows(run("pump:2", "--plan", "plan.yaml", "--against", f"last:{N}"))
    assert found["alarm_rate"]["value"].split(" of ")[1] == f"pump:2 on {N} records, 0.02"
    said = Store(environment.store).get("pump:2").manifest
    scores = np.abs((values() - said.reference.mean) / said.reference.deviation).max(axis=1)
    expected = average_precision_score(np.arange(N) % 100 == 0, scores)
    assert found["average_precision"]["value"].startswith(f"{expected:.4g} of pump:2")


def test_records_of_partitions_come_by_time_and_stay_in_order(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer's clock that goes back does not turn round what a partition says."""
    log = [Record(0, 0, 10, None, b"a"), Record(0, 1, 30, None, b"b"), Record(0, 2, 5, None, b"c"),
           Record(1, 0, 20, None, b"x"), Record(1, 1, 40, None, b"y"), Record(1, 2, 50, None, None)]  # fmt: skip
    monkeypatch.setattr(samples, "starts", lambda *_: {})
    monkeypatch.setattr(samples.kafka, "read_to_end", lambda *_: iter(log))
    assert [record.value for record in last_records(environment, 4)] == [b"x", b"b", b"c", b"y"]


def test_a_tail_begins_where_so_many_records_may_follow(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = TopicPartition("telemetry", 0), TopicPartition("telemetry", 1)

    class Consumer:
        def assignment(self) -> set[Any]:
            return {second, first}

        def beginning_offsets(self, partitions: list[Any]) -> dict[Any, int]:
            return {first: 90, second: 0}

        def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
            return {first: 100, second: 1_000}

        def close(self) -> None:
            pass

    monkeypatch.setattr(bounds.kafka, "consumer", lambda *_: Consumer())
    assert bounds.starts(environment, "telemetry", 20) == {0: 90, 1: 980}


def fault(device: str, first: int, last: int, **said: Any) -> Label:
    return Label(DeviceSpan(device, first, last), **said)


def test_labels_mark_spans_of_event_time_and_records() -> None:
    plan = deployable("p", champion="a:1")
    log = [Record(i % 2, 10 + i, i, None, reading(device, time=i)) for i, device in enumerate(("a", "b", "a", "a"))]
    frame = samples.decoded(log, plan.schemas)[0]

    def marks(*labels: Label) -> list[bool] | None:
        found = marked(frame, log, "t", Labels(labels))
        return None if found is None else found.tolist()

    spans = (fault("a", 2_000, 3_000), fault("c", 0, 9_000))
    assert marks(*spans) == [False, False, True, True]
    records = (Label(RecordId("t", 1, 13), False), Label(RecordId("t", 1, 11)), Label(RecordId("t", 0, 11)))
    assert marks(*spans, *records) == [False, True, True, False]
    assert marks(fault("a", 4_000, 9_000)) is None
    assert marks(fault("b", 0, 9_000, label=False)) == [False] * 4


# -- what a swap requires


def required(environment: Environment, **limits: float) -> Any:
    plan_of("next.yaml", champion="pump:2", require=limits)
    plan, parts = plan_parts(environment, "next.yaml")
    return require(environment, "prod", "p", plan, parts)


def test_a_swap_is_measured_on_telemetry(environment: Environment, topics: Topics) -> None:
    telemetry(environment, topics)
    (rate, precision) = required(environment, max_alarm_rate=0.5)
    assert (rate.check, precision.check) == ("alarm_rate", "average_precision")
    with pytest.raises(Rejected, match=r"^plan p: alarm_rate: 0\.\d+ of pump:2 on 401 records; at most 0\.1$"):
        required(environment, max_alarm_rate=0.1)


def test_a_swap_to_a_plan_that_requires_nothing_reads_nothing(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.scripts.known.read_definitions", lambda _: pytest.fail("was read"))
    assert required(environment) == []


def put_in_force(environment: Environment, topics: Topics, path: str) -> None:
    """The plan of a file, published, with its cut at epoch 1."""
    plan, parts = plan_parts(environment, path)
    cut = Cut("prod", "p", 1, plan.digest, "telemetry", {0: 0})
    for part in (*parts, Part("cut", cut.name, cut.encode())):
        value = encode_definition(part.kind, "prod", part.name, part.body, "a person", 1, "")[1]
        topics.send(environment.topics.parameters.name, b"", value)


def test_a_swap_is_held_against_the_champion_in_force(environment: Environment, topics: Topics) -> None:
    telemetry(environment, topics)
    put_in_force(environment, topics, "plan.yaml")
    rate, ratio, precision = required(environment, max_alarm_rate_ratio=100.0)
    assert rate.value.endswith("0.02244 of pump:1")
    assert (ratio.check, ratio.limit, precision.check) == ("alarm_rate_ratio", "at most 100", "average_precision")
    with pytest.raises(Rejected, match=r"^plan p: alarm_rate_ratio: \d+\.\d+ of pump:2 on 401 records; at most 2$"):
        required(environment, max_alarm_rate_ratio=2.0)


def test_the_plan_in_force_is_not_measured_again(environment: Environment, topics: Topics) -> None:
    telemetry(environment, topics)
    plan_of("next.yaml", champion="pump:2", require={"max_alarm_rate": 0.001})
    put_in_force(environment, topics, "next.yaml")
    assert required(environment, max_alarm_rate=0.001) == []


def test_a_swap_that_breaks_a_limit_changes_nothing_and_is_told(environment: Environment, topics: Topics) -> None:
    telemetry(environment, topics)
    put_in_force(environment, topics, "plan.yaml")
    trust_first(environment)
    plan_of("next.yaml", champion="pump:2", require={"max_alarm_rate": 0.1})
    names = (environment.topics.telemetry.name, environment.topics.parameters.name)
    before = [len(topics.records[name]) for name in names]
    result = CliRunner().invoke(cli, ["--environment", "env.yaml", "swap", "--plan", "next.yaml"], standalone_mode=False)
    assert isinstance(result.exception, Rejected)
    assert str(result.exception).startswith("plan p: alarm_rate: ")
    assert [len(topics.records[name]) for name in names] == before
    (row,) = (json.loads(record.value or b"") for record in topics.records[environment.topics.ledger.name])
    assert (row["event"], row["reason"]) == ("rejected", str(result.exception))


def test_limits_and_no_telemetry_are_a_refusal(environment: Environment, topics: Topics) -> None:
    with pytest.raises(Rejected, match="plan p: require: no record is for a champion of the plan"):
        required(environment, max_alarm_rate=0.5)


@pytest.mark.parametrize(
    ("now", "before", "ratio"), [(0.2, 0.1, 2.0), (0.0, 0.0, 1.0), (0.1, 0.0, float("inf")), (0.0, 0.1, 0.0), (None, 0.1, None)]
)
def test_ratios(now: float | None, before: float, ratio: float | None) -> None:
    assert Compared(9, Shown("a", now, None), Shown("b", before, None)).ratio == ratio


def test_a_ratio_asks_for_a_champion_in_force() -> None:
    limits = Require(max_alarm_rate_ratio=1.0)
    assert [finding.ok for finding in judged(Compared(9, Shown("a", 0.5, None)), limits)] == [True]
    both = judged(Compared(9, Shown("a", 0.5, None), Shown("b", 0.1, None)), limits)
    assert [(finding.check, finding.ok) for finding in both] == [("alarm_rate", True), ("alarm_rate_ratio", False)]
