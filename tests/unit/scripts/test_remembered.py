"""What devices are known by where a span of the past begins: `compare` and `backfill` over a past in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from swapstream.models.errors import Unavailable
from swapstream.models.folders import LocalFolder
from swapstream.operators.labels import Labels
from swapstream.operators.lookup import DefinitionsLookup
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.scores import decode_scores
from swapstream.operators.shard_state import Snapshot
from swapstream.scripts import compare
from swapstream.scripts.backfill import Backfill
from swapstream.scripts.comparing import Comparison
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.main import cli
from swapstream.scripts.remembered import Memories, Remembered, warmed_up
from swapstream.scripts.spans import whole_sections
from tests.support.broker import Broker
from tests.support.past import Past
from tests.support.shards import DEPLOYMENT, EWM, NAMESPACE, TOPIC, deployable, running

SCORING = deployable("scoring", extractor=EWM, champion="b:1")
WIDER = deployable("wider", extractor=("identity", *EWM), champion="w:1")
OTHER = deployable("other", extractor=({"rolling": {"n": 3}},), champion="o:1")
PLAIN = deployable("plain", champion="p:1")
"""Of no memory."""
LAGS = {depth: deployable(f"lags-{depth}", extractor=({"lags": {"steps": [depth]}},), champion=f"l:{depth}") for depth in (1, 4)}
"""Of readings."""


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    (tmp_path / "here.yaml").write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", str(tmp_path / "here.yaml"))
    monkeypatch.chdir(tmp_path)
    return Broker(monkeypatch)


def lived(broker: Broker, *plans: Any) -> Past:
    """60 records under each plan; the last is not deployed, only defined."""
    past = Past(*plans)
    for plan in plans[:-1] or plans:
        past.swap(plan)
        past.readings(60)
    past.live()
    broker.live(past)
    return past


def pipeline(one: Any) -> Pipeline:
    return Pipeline(one.plan, DefinitionsLookup(running(one).definitions, NAMESPACE))


def memories(first: int, before: int | None = None, deployment: str | None = DEPLOYMENT) -> Memories:
    environment = load_environment()
    return Memories(environment, None, deployment, whole_sections(environment, TOPIC, first, None), before)


def known(plan: Any, first: int, **how: Any) -> Remembered:
    part = pipeline(plan).input()
    return memories(first, **how).of(0, {part.schema.name: part.extractor})


def compared(one: Any, other: Any, first: int, before: int | None = None) -> tuple[Any, ...]:
    environment = load_environment()
    comparison = Comparison(pipeline(one), pipeline(other), None)
    wanted = whole_sections(environment, TOPIC, first, None)
    warmed = compare.run(environment, comparison, wanted, Memories(environment, None, DEPLOYMENT, wanted, before))
    return (*comparison.trials(Labels([]), TOPIC), warmed)


def emitted(past: Past, first: int) -> list[tuple[Any, ...]]:
    """What the champion said, from an offset on."""
    frames = (decode_scores(one.value) for one in past.emissions if one.role == "scores")
    rows = [row for one in frames for row in one.rows() if row["role"] == "champion" and row["offset"] >= first]
    return sorted((row["offset"], row["score"], row["warming"], row["anomalous"]) for row in rows)


def said(trial: Any) -> list[tuple[Any, ...]]:
    role = trial.roles[0]
    return sorted(zip(trial.frame.offsets.tolist(), role.scores.tolist(), trial.warming.tolist(), role.alarms.tolist(), strict=True))


@pytest.mark.parametrize("place", [1, 9, 33, 59])
def test_compare_says_bit_for_bit_what_came_out(broker: Broker, place: int) -> None:
    past = lived(broker, SCORING)
    first = past.log[place][0]
    one, other, warmed = compared(SCORING, SCORING, first)
    assert said(one) == said(other) == emitted(past, first)
    assert warmed == [None, None]


def test_records_before_are_not_as_good(broker: Broker) -> None:
    past = lived(broker, SCORING)
    first = past.log[40][0]
    one, _, warmed = compared(SCORING, SCORING, first, before=12)
    assert said(one) != emitted(past, first)
    assert warmed == ["with the 12 records before the span in partition 0: so it was asked for"] * 2


def test_each_side_begins_by_itself(broker: Broker) -> None:
    """A challenger of another extractor warms up with what lies before the snapshot as well."""
    past = lived(broker, SCORING, OTHER)
    first = past.log[40][0]
    one, other, warmed = compared(SCORING, OTHER, first)
    assert said(one) == emitted(past, first)
    assert said(other) == said(compared(OTHER, OTHER, first, before=5_000)[0])
    assert warmed[0] is None
    assert str(warmed[1]).startswith(f"with the {first} records before the span in partition 0: state is of other extractors: found ewm")


def test_what_warmed_up_is_in_the_result(broker: Broker) -> None:
    past = lived(broker, SCORING, OTHER)
    first = str(past.log[40][0])
    environment = load_environment()
    for name, one in (("scoring", SCORING), ("other", OTHER)):
        store(environment, one, name)
    arguments = ["compare", "scoring.yaml", "other.yaml", "--from", first, "--deployment", DEPLOYMENT]
    rows = [json.loads(line) for line in called(*arguments, "--json").stdout.splitlines()]
    assert rows[0]["warmed_up"] is None
    assert "state is of other extractors" in rows[1]["warmed_up"]
    assert rows[0]["anomalies"] == sum(alarm for *_, alarm in emitted(past, int(first)))
    lines = called(*arguments).stderr.splitlines()
    assert [line for line in lines if "warmed up" in line] == [f"other (second): devices warmed up {rows[1]['warmed_up']}"]


def store(environment: Environment, one: Any, name: str) -> None:
    """A plan as a file, with its model in the store."""
    from swapstream.models.store import Store

    Path("pumps.yaml").write_bytes(msgspec.yaml.encode({"fields": ["temperature", "pressure"]}))
    for artifact in one.models:
        Store(environment.store).put(artifact)
    spec = [dict(member) if isinstance(member, dict) else member for member in one.plan.inputs[0].extractor]
    champion = one.plan.routes[0].champion.name
    Path(f"{name}.yaml").write_bytes(msgspec.yaml.encode({"name": name, "schema": "pumps.yaml", "extractor": spec, "champion": champion}))


def called(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if done.exception:
        raise done.exception
    return done


# -- which state fits


@pytest.mark.parametrize(("ran", "wanted", "fits"), [
    ((SCORING,), SCORING, True),
    ((WIDER,), SCORING, True),
    ((SCORING,), WIDER, True),
    ((SCORING,), OTHER, False),
    ((LAGS[4],), LAGS[1], True),
    ((LAGS[1],), LAGS[4], False),
    ((SCORING, OTHER), SCORING, False),
])  # fmt: skip
def test_state_fits_where_nothing_is_missing(broker: Broker, ran: Any, wanted: Any, fits: bool) -> None:
    """What is kept aside since a swap is as old as that: production itself would go on from it, but no answer was made of it since."""
    past = lived(broker, *ran, wanted)
    first = past.log[-10][0]
    found = known(wanted, first)
    assert (found.state is not None) == fits == (not found.lacking)
    if found.state:
        assert found.offset == found.state.about.offset + 1 <= first
        assert len(found.tables["pumps"])
    else:
        assert (found.offset, dict(found.tables)) == (0, {})


def test_without_memory_nothing_is_read_before_the_span(broker: Broker) -> None:
    past = lived(broker, SCORING, PLAIN)
    first = past.log[30][0]
    assert known(PLAIN, first) == known(PLAIN, first, before=10) == Remembered(first)


def test_where_no_state_lies_before_the_span(broker: Broker) -> None:
    past = lived(broker, SCORING)
    broker.logs["snapshots", 0].clear()
    first = past.log[30][0]
    assert known(SCORING, first).lacking == f"no state that {NAMESPACE}/{DEPLOYMENT} has published lies before it"
    assert known(SCORING, first, deployment=None).lacking == "which deployment? Name it with --deployment; running here: none"
    broker.delete_before(TOPIC, past.log[5][0])
    assert known(SCORING, first).offset == past.log[5][0]


def test_a_schema_that_was_not_there(broker: Broker) -> None:
    fans = deployable("fans", schema="fans", extractor=EWM, champion="f:1")
    past = lived(broker, SCORING, fans)
    assert known(fans, past.log[30][0]).lacking == "schema 'fans' was not in the plan in force then"


def test_partitions_without_records_are_not_named(broker: Broker) -> None:
    past = lived(broker, SCORING)
    broker.partitions[TOPIC] = 2
    first = past.log[30][0]
    _, _, warmed = compared(SCORING, OTHER, first, before=7)
    assert warmed == ["with the 7 records before the span in partition 0: so it was asked for"] * 2


# -- backfill


def backfill(first: int, plan: Any = SCORING) -> Backfill:
    environment = load_environment()
    wanted = whole_sections(environment, TOPIC, first, None)
    part = pipeline(plan).input()
    found = Deployment(NAMESPACE, "again", "detect", 1)
    return Backfill(environment, found, [], wanted, Memories(environment, None, DEPLOYMENT, wanted, None), {"pumps": part.extractor})


def test_a_backfill_hands_the_state_to_its_job(broker: Broker) -> None:
    past = lived(broker, SCORING)
    first = past.log[30][0]
    made = backfill(first)
    made._leave_states()
    told = made._told(SCORING.digest, 0, made.begins, "exactly_once")
    state = made.known[0].state
    assert state is not None
    assert told.start_offsets == {0: state.about.offset + 1}
    given = told.inherited[0]
    body = (load_environment().store / given.where).read_bytes()
    assert (len(body), body) == (given.size, state.state)
    assert msgspec.msgpack.decode(body, type=Snapshot).tables


def test_a_store_that_takes_nothing_costs_the_state_alone(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    past = lived(broker, SCORING)

    def full(*_: object) -> None:
        raise Unavailable("store: no space left on device")

    monkeypatch.setattr(LocalFolder, "replace", full)
    first = past.log[30][0]
    made = backfill(first)
    made._leave_states()
    assert made.inherited == {}
    assert made.begins == {0: 0}
    assert warmed_up(made.known, made.wanted) == f"with the {first} records before the span in partition 0: store: no space left on device"
