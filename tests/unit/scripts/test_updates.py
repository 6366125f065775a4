"""Updaters: new numbers for a champion, inside tokens, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swapstream.models import Artifact, Store
from swapstream.models.errors import Conflict, InvalidArtifact, UnknownName
from swapstream.models.numbers import numbers as numbers_of
from swapstream.operators.plan import Plan
from swapstream.operators.update import Update
from swapstream.scripts.controller import Controller, swap
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author, Part, publish, read_definitions
from swapstream.scripts.updates import Updater
from tests.support.shard_answers import Answering
from tests.support.shards import FIELDS, Deployable, deployable, model, route
from tests.support.topics import Topics

ME = Author("me")
SEVERAL = deployable("p", routes=(route("x-*", champion="b:1"), route("y-*", champion="a:1")), champion="a:1")


@pytest.fixture
def environment(tmp_path: Path, topics: Topics) -> Environment:
    return Environment(directory=str(tmp_path))


def run_under(environment: Environment, topics: Topics, one: Deployable) -> Answering:
    publish(environment, "prod", [Part(*definition) for definition in one.definitions()], ME)
    swap(environment, "prod", "d", one.digest, ME)
    return Answering(topics, environment)


def updater(environment: Environment, name: str | None = None) -> Updater:
    return Updater(environment, "d", name, speaker=ME)


def numbers(shift: float) -> dict[str, Any]:
    return {name: array + shift for name, array in numbers_of(model("a:1", FIELDS)).items()}


def carried(body: bytes) -> tuple[Plan, list[str]]:
    update = Update.decode(body)
    return Plan.decode(update.plan), [Artifact.decode(body).ref for body in update.models]


def test_each_push_is_the_next_version_in_the_next_epoch(environment: Environment, topics: Topics) -> None:
    shards = run_under(environment, topics, deployable("p", champion="a:1"))
    with updater(environment) as one:
        done = [one.push(numbers(shift)) for shift in (0.1, 0.2, 0.3)]
    assert [each.cut.epoch for each in done] == [2, 3, 4]
    assert [carried(token.body)[1] for token in shards.tokens[::2]] == [["a:2"], ["a:3"], ["a:4"]]
    assert {token.kind for token in shards.tokens} == {"update"}
    assert read_definitions(environment).update_cut("prod", "d") == done[-1].cut
    artifact = Artifact.decode(Update.decode(shards.tokens[-1].body).models[0])
    np.testing.assert_array_equal(numbers_of(artifact)["mean"], numbers(0.3)["mean"])


def test_versions_go_on_behind_the_stores_and_the_last_updaters(environment: Environment, topics: Topics) -> None:
    for version in range(1, 4):
        Store(environment.store).put(model(f"a:{version}", FIELDS))
    run_under(environment, topics, deployable("p", champion="a:1"))
    for wanted in ("a:4", "a:5"):
        with updater(environment) as one:
            one.push(numbers(0.1))
            assert one.artifact.ref == wanted


def test_everything_that_is_not_published_travels_along(environment: Environment, topics: Topics) -> None:
    shards = run_under(environment, topics, SEVERAL)
    with updater(environment, "a") as one:
        one.push(numbers(0.1))
    with updater(environment, "b") as other:
        other.push({name: array + 0.1 for name, array in numbers_of(model("b:1", FIELDS)).items()})
    plan, models = carried(shards.tokens[-1].body)
    assert [route.champion.name for route in plan.routes if route.champion] == ["b:2", "a:2", "a:2"]
    assert sorted(models) == ["a:2", "b:2"]


def test_which_champion_is_meant_must_be_clear(environment: Environment, topics: Topics) -> None:
    run_under(environment, topics, SEVERAL)
    for name in (None, "c"):
        with pytest.raises(UnknownName, match="which champion of plan 'p' is meant"), updater(environment, name):
            pass


def test_numbers_that_are_no_good_are_refused_and_the_next_are_taken(environment: Environment, topics: Topics) -> None:
    shards = run_under(environment, topics, deployable("p", champion="a:1"))
    with updater(environment) as one:
        with pytest.raises(InvalidArtifact):
            one.push(numbers(float("nan")))
        assert shards.tokens == []
        assert one.push(numbers(0.1)).cut.epoch == 2


def test_an_updater_that_somebody_took_over_from_is_told(environment: Environment, topics: Topics) -> None:
    shards = run_under(environment, topics, deployable("p", champion="a:1"))
    with updater(environment) as one:
        one.push(numbers(0.1))
        with Controller(environment, "prod", "d", ME):
            pass
        with pytest.raises(Conflict, match="another controller has taken over"):
            one.push(numbers(0.2))
    assert len(shards.tokens) == 2
