"""Pipelines: routes, roles, and models that fail."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models import pack
from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact, UnknownName
from swapstream.models.kinds import scorer
from swapstream.models.schema import Schema
from swapstream.operators.decode import Decoder
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.patterns import NONE
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Pin
from swapstream.operators.scored import Scored
from swapstream.operators.sessions import Session
from tests.support.shards import EWM, FIELDS, SCHEMAS, Deployable, deployable, frame, model, reading, route
from tests.unit.models.graphs import Writer


class Parts:
    """A look-up over a deployable; `broken` models raise."""

    def __init__(self, one: Deployable, broken: tuple[str, ...] = ()) -> None:
        self.one, self.broken = one, broken

    def schema(self, pin: Pin) -> Schema:
        return next(schema for schema in self.one.schemas if schema.name == pin.name)

    def model(self, pin: Pin) -> Artifact:
        if pin.name in self.broken:
            raise InvalidArtifact(f"{pin.name} is broken")
        return next(artifact for artifact in self.one.models if artifact.ref == pin.name)


def pipeline(name: str = "p", broken: tuple[str, ...] = (), **roles: Any) -> LoadedInput:
    one = deployable(name, **roles)
    return Pipeline(one.plan, Parts(one, broken)).input()


def process(some: LoadedInput, devices: list[str], values: list[tuple[float, float]] | None = None) -> Scored:
    values = values or [(float(i), 1.0) for i in range(len(devices))]
    raw = frame([reading(device, row) for device, row in zip(devices, values, strict=True)])
    decoded, bad = Decoder(some.schema).decode(raw, 0, len(raw))
    assert not bad
    return some.process(decoded, some.new_table())


class Scripted:
    """A scorer that answers by a feature: itself, or an exception where it is above 5."""

    def score(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if (rows[:, 0] > 5).any():
            raise RuntimeError("above five")
        found = rows[:, 0].copy()
        found[rows[:, 0] == 4] = np.nan
        found[rows[:, 0] == 3] = np.inf
        return found


def scripted(some: LoadedInput, scorer: Any, role: str = "champion") -> None:
    """Let a scorer of the test's own answer in a role of the first route."""
    model = some.routes[0].in_role(role)
    assert model is not None
    session = Session(scorer, model.session.manifest, 0)
    model._session = partial(lambda: session)


def test_scores_are_the_models_own() -> None:
    scored = process(pipeline(champion="a:1", canary="b:1"), ["pump-1"] * 3)
    for role, ref in zip(scored.roles, ("a:1", "b:1"), strict=True):
        assert role.scores.tobytes() == scorer(model(ref, FIELDS)).score(scored.features).tobytes()
        assert role.threshold == model(ref, FIELDS).manifest.threshold
    assert [role.role for role in scored.roles] == ["champion", "canary"]


def test_a_device_takes_the_first_route_that_matches_and_none_else() -> None:
    some = pipeline(routes=(route("pump-1*", champion="a:1"), route("pump-*", champion="b:1")))
    scored = process(some, ["pump-2", "fan", "pump-1", "pump-10"])
    assert {role.model.name: role.rows.tolist() for role in scored.roles} == {"a:1": [2, 3], "b:1": [0]}
    assert [some.route_of(device) for device in ("pump-1", "pump-2", "fan")] == [0, 1, NONE]
    assert some.model_of("fan") is None


def test_a_route_without_a_champion_answers_for_none() -> None:
    scored = process(pipeline(routes=(route("pump-*"), route("fan-*", champion="a:1"))), ["pump-1", "fan-1"])
    assert [role.rows.tolist() for role in scored.roles] == [[1]]


def test_the_plans_threshold_stands_for_the_champions_own_only() -> None:
    scored = process(pipeline(champion="a:1", challengers=("b:1",), threshold=0.0), ["pump-1"])
    assert [role.threshold for role in scored.roles] == [0.0, model("b:1", FIELDS).manifest.threshold]
    assert scored.anomalous.tolist() == [True]


def test_only_the_champion_raises_alarms_and_not_while_warming() -> None:
    scored = process(pipeline(champion="a:1", challengers=("b:1",), threshold=1e9), ["pump-1"], [(1e6, 0.0)])
    assert scored.roles[1].scores[0] > scored.roles[1].threshold
    assert not scored.anomalous.any()
    warming = process(pipeline(extractor=EWM, champion="c:1", threshold=-1.0), ["x", "x", "x", "y"])
    assert warming.warming.tolist() == [True, True, False, True]
    assert warming.anomalous.tolist() == [False, False, True, False]


def test_a_model_that_can_not_be_loaded_answers_with_the_reason_and_harms_no_other() -> None:
    scored = process(pipeline(broken=("a:1",), champion="a:1", canary="b:1"), ["pump-1", "pump-2"])
    champion, canary = scored.roles
    assert champion.errors == {0: "a:1 is broken", 1: "a:1 is broken"}
    assert np.isnan(champion.scores).all()
    assert not scored.anomalous.any()
    assert canary.errors == {}
    assert np.isfinite(canary.scores).all()


def test_whatever_a_library_raises_while_a_model_is_loaded_is_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(artifact: Artifact) -> None:
        raise RuntimeError("no such op" + "!" * 1_000)

    monkeypatch.setattr("swapstream.models.gate.scorer", raising)
    errors = process(pipeline(champion="a:1"), ["pump-1"]).roles[0].errors
    assert errors[0].startswith("a:1: load: RuntimeError: no such op!")
    assert len(errors[0]) == 200


def test_scores_of_another_shape_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Column(Scripted):
        def score(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return rows[:, :1]

    monkeypatch.setattr("swapstream.models.gate.scorer", lambda artifact: Column())
    assert "shape" in process(pipeline(champion="a:1"), ["pump-1"]).roles[0].errors[0]


@pytest.mark.parametrize("together", [True, False])
def test_a_record_on_which_a_model_fails_harms_only_its_own_row(together: bool) -> None:
    some = pipeline(champion="a:1", threshold=0.5)
    scripted(some, Scripted())
    values = [(1.0, 0.0), (9.0, 0.0), (4.0, 0.0), (3.0, 0.0), (0.25, 0.0)]
    runs = [values] if together else [[row] for row in values]
    found = [process(some, ["pump-1"] * len(run), run) for run in runs]
    scores = np.concatenate([scored.roles[0].scores for scored in found])
    errors = [scored.roles[0].errors.get(i) for scored, run in zip(found, runs, strict=True) for i in range(len(run))]
    assert scores[[0, 4]].tolist() == [1.0, 0.25]
    assert np.isnan(scores[1:4]).all()
    assert errors == [None, "RuntimeError: above five", "the score is not finite", "the score is not finite", None]
    assert np.concatenate([scored.anomalous for scored in found]).tolist() == [True, False, False, False, False]


def test_a_missing_schema_is_told_when_the_pipeline_is_made() -> None:
    class Nothing(Parts):
        def schema(self, pin: Pin) -> Schema:
            raise UnknownName(f"no schema {pin.name}")

    one = deployable("p", champion="a:1")
    with pytest.raises(UnknownName, match="no schema pumps"):
        Pipeline(one.plan, Nothing(one))


# -- who answers where the champion fails


BAD = [(1.0, 0.0), (9.0, 0.0), (4.0, 0.0), (0.25, 0.0), (7.0, 90.0)]


@pytest.mark.parametrize("cuts", [(5,), (1, 1, 1, 1, 1), (2, 3), (4, 1)])
def test_on_error_answers_where_the_champion_fails_and_nowhere_else(cuts: tuple[int, ...]) -> None:
    some = pipeline(champion="a:1", on_error="b:1", threshold=0.5)
    scripted(some, Scripted())
    found: dict[tuple[str, int], tuple[float, str | None]] = {}
    anomalous, first = [], 0
    for count in cuts:
        scored = process(some, ["pump-1"] * count, BAD[first : first + count])
        for role in scored.roles:
            for place, (row, score) in enumerate(zip(role.rows.tolist(), role.scores.tolist(), strict=True)):
                found[role.role, first + row] = score, role.errors.get(place)
        anomalous += scored.anomalous.tolist()
        first += count
    stands_in = model("b:1", FIELDS)
    own = scorer(stands_in).score(np.array(BAD))
    failed = [1, 2, 4]
    assert sorted(row for role, row in found if role == "on_error") == failed
    assert [found["on_error", row] for row in failed] == [(own[row], None) for row in failed]
    assert [found["champion", row][1] is not None for row in range(5)] == [False, True, True, False, True]
    assert anomalous == [True, *(own[1:3] > stands_in.manifest.threshold).tolist(), False, bool(own[4] > stands_in.manifest.threshold)]
    assert anomalous[4]


def test_on_error_has_its_own_threshold_and_raises_no_alarm_while_warming() -> None:
    some = pipeline(broken=("c:1",), extractor=EWM, champion="c:1", on_error="d:1", threshold=-1.0)
    scored = process(some, ["x", "x", "x", "y"], [(1.0, 2.0), (3.0, 2.0), (1e9, 1e9), (1e9, 1e9)])
    champion, other = scored.roles
    assert (champion.role, other.role, other.rows.tolist()) == ("champion", "on_error", [0, 1, 2, 3])
    assert other.threshold > 0
    assert scored.anomalous.tolist() == [False, False, True, False]


def test_where_both_fail_the_record_has_two_reasons_and_no_alarm() -> None:
    scored = process(pipeline(broken=("a:1", "b:1"), champion="a:1", on_error="b:1"), ["pump-1"])
    assert [(role.role, role.errors) for role in scored.roles] == [("champion", {0: "a:1 is broken"}), ("on_error", {0: "b:1 is broken"})]
    assert not scored.anomalous.any()


def test_a_challenger_that_fails_is_answered_by_nobody() -> None:
    scored = process(pipeline(broken=("b:1",), champion="a:1", challengers=("b:1",), on_error="c:1"), ["pump-1"])
    assert [role.role for role in scored.roles] == ["champion", "challenger"]


def test_a_scorer_that_knows_why_it_failed_is_asked_about_the_row_alone() -> None:
    class Telling(Scripted):
        def failure(self, row: np.ndarray[Any, Any]) -> str:
            return f"no answer to {row[0]}" if row[0] == 4 else ""

    some = pipeline(champion="a:1")
    scripted(some, Telling())
    errors = process(some, ["pump-1"] * 3, [(1.0, 0.0), (4.0, 0.0), (3.0, 0.0)]).roles[0].errors
    assert errors == {1: "no answer to 4.0", 2: "the score is not finite"}


def test_a_graph_that_fails_on_a_record_says_why_and_harms_no_other() -> None:
    """A look-up by a feature in a table of ten."""
    write = Writer("float64")
    table = write.constant(np.arange(10.0) ** 2)
    first = write.node("Gather", "x", write.constant(np.array(0)), axis=1)
    graph = write.model(write.node("Gather", table, write.node("Cast", first, to=7)), given=(2,))
    rows = np.stack([np.arange(40.0) % 10, np.zeros(40)], axis=1)
    artifact = pack(graph, rows, FIELDS, name="table", version=1)
    plan = deployable("p", champion="a:1", on_error="b:1").plan
    routes = (msgspec.structs.replace(plan.routes[0], champion=Pin("table:1", artifact.digest)),)
    one = Deployable(msgspec.structs.replace(plan, routes=routes), (SCHEMAS["pumps"],), (artifact, model("b:1", FIELDS)))
    values = [(3.0, 0.0), (12.0, 0.0), (9.0, 0.0), (-11.0, 0.0)]
    part = Pipeline(one.plan, Parts(one)).input()
    together = process(part, ["pump-1"] * 4, values)
    champion, other = together.roles
    assert champion.scores[[0, 2]].tolist() == [9.0, 81.0]
    assert champion.errors.keys() == {1, 3}
    assert "idx=12" in champion.errors[1]
    assert "idx=-11" in champion.errors[3]
    assert (other.role, other.rows.tolist()) == ("on_error", [1, 3])
    alone = [process(part, ["pump-1"], [row]) for row in values]
    assert [scored.roles[0].errors.get(0) for scored in alone] == [champion.errors.get(i) for i in range(4)]


# -- tags, and many routes


def test_a_tag_takes_the_devices_of_its_patterns() -> None:
    tags = {"critical": ("pump-7", "fan-*")}
    routes = (route("*-1", tag="critical", champion="a:1"), route(tag="critical", champion="b:1"), route("pump-*", champion="c:1"))
    some = pipeline(tags=tags, routes=routes)
    scored = process(some, ["pump-7", "fan-1", "fan-2", "pump-1", "valve"])
    assert {role.model.name: role.rows.tolist() for role in scored.roles} == {"a:1": [1], "b:1": [0, 2], "c:1": [3]}


def test_a_route_with_a_tag_leaves_the_rest_to_those_behind_it() -> None:
    some = pipeline(tags={"t": ("x",)}, routes=(route(tag="t", champion="a:1"),), champion="b:1")
    scored = process(some, ["y", "x", "y"])
    assert {role.model.name: role.rows.tolist() for role in scored.roles} == {"a:1": [1], "b:1": [0, 2]}
