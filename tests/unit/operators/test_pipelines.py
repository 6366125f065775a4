"""Which plans can be run, and loading them."""

from __future__ import annotations

import pytest

from swapstream.models.errors import SwapstreamError, UnknownName
from swapstream.operators.definitions import Definitions
from swapstream.operators.pipelines import KEPT, Pipelines, missing
from swapstream.operators.statement import digest_of
from tests.support.shards import NAMESPACE, Parameters, deployable

PLAN = deployable("p", champion="a:1", challengers=("b:1",))


def test_a_plan_is_missing_until_the_last_of_its_parts_is_there() -> None:
    parameters = Parameters()
    said = []
    *parts, plan = PLAN.definitions()
    for kind, name, body in (plan, *parts):
        said.append(missing(parameters.read(Definitions()), NAMESPACE, PLAN.digest))
        parameters.define(kind, name, body)
    assert [text and text.split(" is not")[0].split("@")[0] for text in said] == [
        f"plan {PLAN.digest[:12]}…",
        "plan 'p': schema pumps",
        "plan 'p': model a:1",
        "plan 'p': model b:1",
    ]
    definitions = parameters.read(Definitions())
    assert missing(definitions, NAMESPACE, PLAN.digest) is None
    assert missing(definitions, "alice", PLAN.digest) is not None


def test_what_is_defined_later_does_not_count() -> None:
    parameters = Parameters()
    end = parameters.publish(PLAN)
    definitions = parameters.read(Definitions())
    assert missing(definitions, NAMESPACE, PLAN.digest, end) is None
    assert missing(definitions, NAMESPACE, PLAN.digest, end - 1) is not None


def test_a_model_that_came_too_late_for_its_name_is_missing() -> None:
    parameters = Parameters()
    parameters.define("model", "a:1", b"another one's")
    parameters.publish(PLAN)
    said = missing(parameters.read(Definitions()), NAMESPACE, PLAN.digest)
    assert said is not None
    assert "model a:1" in said


def test_pipelines_are_loaded_once_and_the_oldest_are_let_go() -> None:
    parameters = Parameters()
    plans = [deployable(f"p{i}") for i in range(KEPT + 1)]
    parameters.publish(*plans)
    pipelines = Pipelines(parameters.read(Definitions()), NAMESPACE)
    first = pipelines.get(plans[0].digest)
    assert pipelines.get(plans[0].digest) is first
    for plan in plans[1:]:
        pipelines.prepare(plan.digest)
    again = pipelines.get(plans[0].digest)
    assert again is not first
    assert again.digest == first.digest


def test_a_plan_that_is_not_there_is_not_prepared_and_can_be_later() -> None:
    parameters, definitions = Parameters(), Definitions()
    pipelines = Pipelines(definitions, NAMESPACE)
    pipelines.prepare(PLAN.digest)
    with pytest.raises(UnknownName, match="is not defined"):
        pipelines.get(PLAN.digest)
    parameters.publish(PLAN)
    parameters.read(definitions)
    assert pipelines.get(PLAN.digest).digest == PLAN.digest


def test_a_plan_whose_parts_are_no_good_is_one_error() -> None:
    parameters = Parameters()
    parameters.define("plan", "bad", b"\xa1\xff")
    definitions = parameters.read(Definitions())
    assert "not a plan" in str(missing(definitions, NAMESPACE, digest_of(b"\xa1\xff")))
    with pytest.raises(SwapstreamError):
        Pipelines(definitions, NAMESPACE).get(digest_of(b"\xa1\xff"))
