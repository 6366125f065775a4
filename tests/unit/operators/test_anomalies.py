"""Anomalies: what is told of one, and that a model that fails while explaining doesn't hide it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models.contributions import contributions
from swapstream.models.kinds import scorer
from swapstream.models.kinds.zscore import ZScoreScorer
from swapstream.operators.anomalies import iso
from tests.support.shards import FIELDS, Deployable, Parameters, Worker, deployable, frame, model, reading, route


def told(one: Deployable, payloads: list[bytes], worker: Worker | None = None) -> list[dict[str, Any]]:
    parameters = Parameters()
    parameters.publish(one)
    worker = worker or Worker(parameters, one.digest)
    worker.read()
    raw = frame(payloads, first=5, logged=1_767_225_600_000)
    found = [emission for emission in worker.shard.on_frame(raw) if emission.role == "anomalies"]
    rows = [msgspec.json.decode(emission.value) for emission in found]
    assert [emission.key for emission in found] == [row["device"].encode() for row in rows]
    return rows


def test_an_anomaly_says_all_that_is_needed_to_look_into_it() -> None:
    one = deployable("p", champion="a:1", canary="b:1")
    (row,) = told(one, [reading(values=(0.0, 0.0)), reading("pump-2", (0.0, 90.0), time=1_767_225_600_500)])
    champion = model("a:1", FIELDS)
    score = scorer(champion).score(np.array([[0.0, 90.0]]))[0]
    assert (row["device"], row["offset"], row["partition"], row["topic"]) == ("pump-2", 6, 0, "telemetry")
    assert (row["time"], row["at"]) == (1_767_225_600_500_000, "2026-01-01T00:00:00.500+00:00")
    assert row["values"] == {"temperature": 0.0, "pressure": 90.0}
    assert (row["score"], row["threshold"]) == (score, champion.manifest.threshold)
    assert (row["model"], row["digest"]) == ("a:1", champion.digest)
    assert (row["plan"], row["plan_digest"], row["epoch"]) == ("p", one.digest, 0)
    assert row["extractor"].startswith("identity:1:")


def test_features_are_named_by_what_they_contributed_most_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.loaded_model.contributions", lambda *_: np.array([[1.0, 2.0]]))
    (row,) = told(deployable("p", champion="a:1"), [reading(values=(10.0, 90.0))])
    assert list(row["contributions"].items()) == [("pressure", 2.0), ("temperature", 1.0)]


def test_features_that_contribute_nothing_are_left_out() -> None:
    (row,) = told(deployable("p", champion="a:1"), [reading(values=(1.0, 90.0))])
    champion = model("a:1", FIELDS)
    (shares,) = contributions(scorer(champion), np.array([[1.0, 90.0]]), champion.manifest)
    assert row["contributions"] == {"pressure": shares[1]}


def test_each_route_has_its_own_champion_and_threshold() -> None:
    one = deployable("p", routes=(route("pump-*", champion="a:1", threshold=0.25), route("fan", champion="b:1")))
    rows = told(one, [reading("fan", (80.0, 0.0)), reading("pump-1", (70.0, 0.0))])
    assert {row["device"]: (row["model"], row["threshold"]) for row in rows} == {
        "fan": ("b:1", model("b:1", FIELDS).manifest.threshold),
        "pump-1": ("a:1", 0.25),
    }


def test_where_the_champion_fails_the_one_that_answers_is_named_in_the_logs_order(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ZScoreScorer.score

    def failing(self: Any, rows: Any) -> Any:
        found = real(self, rows)
        return np.where((rows[:, 0] == 7) & (self.mean == champion_mean).all(), np.nan, found)

    champion, other = model("a:1", FIELDS), model("b:1", FIELDS)
    champion_mean = champion.parameters["mean"]
    monkeypatch.setattr(ZScoreScorer, "score", failing)
    one = deployable("p", champion="a:1", on_error="b:1")
    rows = told(one, [reading(f"pump-{i}", (float(first), 90.0)) for i, first in enumerate((1, 7, 2, 7))])
    assert [(row["offset"], row["role"], row["model"]) for row in rows] == [
        (5, "champion", "a:1"), (6, "on_error", "b:1"), (7, "champion", "a:1"), (8, "on_error", "b:1")]
    assert [row["threshold"] for row in rows[:2]] == [champion.manifest.threshold, other.manifest.threshold]
    (shares,) = contributions(scorer(other), np.array([[7.0, 90.0]]), other.manifest)
    assert rows[1]["contributions"]["pressure"] == shares[1]


def test_an_anomaly_that_can_not_be_explained_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: Any) -> None:
        raise RuntimeError("out of its mind")

    monkeypatch.setattr("swapstream.operators.loaded_model.contributions", raising)
    (row,) = told(deployable("p", champion="a:1"), [reading(values=(0.0, 90.0))])
    assert row["contributions"] == {}


def test_shares_that_are_not_finite_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.loaded_model.contributions", lambda *_: np.array([[np.nan, 2.0]]))
    (row,) = told(deployable("p", champion="a:1"), [reading(values=(0.0, 90.0))])
    assert row["contributions"] == {"pressure": 2.0}


def test_times_beyond_the_calendar_are_plain_microseconds() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000+00:00"
    assert iso(2**63 - 1) == f"{2**63 - 1}us"
