"""Pipelines: routes, roles, and models that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact, UnknownName
from swapstream.models.kinds import scorer
from swapstream.models.schema import Schema
from swapstream.operators.decode import Decoder
from swapstream.operators.pipeline import NO_ROUTE, LoadedInput, Pipeline, Scored
from swapstream.operators.plan import Pin
from tests.support.shards import EWM, FIELDS, Deployable, deployable, frame, model, reading, route


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
    assert [some.route_of(device) for device in ("pump-1", "pump-2", "fan")] == [0, 1, NO_ROUTE]
    assert some.champion_of("fan") is None


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
    assert errors[0].startswith("RuntimeError: no such op!")
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
    some.routes[0].models[0].scorer = Scripted()
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
