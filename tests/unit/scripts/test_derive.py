"""Plans with another champion: which routes get it, what stays, what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.models.errors import Rejected, UnknownName
from swapstream.operators.plan import Plan
from swapstream.scripts.derive import label, with_champion
from tests.support.shards import FIELDS, SCHEMAS, Deployable, deployable, model, route


def changed(found: Deployable, ref: str, pattern: str | None = None, features: tuple[str, ...] = FIELDS) -> Plan:
    return with_champion(found.plan, model(ref, features), found.schemas, pattern)


def champions(plan: Plan) -> list[str | None]:
    return [route.champion.name if route.champion else None for route in plan.routes]


def test_the_only_route_gets_the_champion_and_all_else_stays() -> None:
    found = deployable("p", champion="a:1", canary="c:1", threshold=2.0)
    plan = changed(found, "b:1")
    assert champions(plan) == ["b:1"]
    (before,), (after,) = found.plan.routes, plan.routes
    assert msgspec.structs.replace(after, champion=before.champion) == before
    assert msgspec.structs.replace(plan, routes=found.plan.routes) == found.plan
    assert plan.digest != found.plan.digest
    assert plan.routes[0].champion.digest == model("b:1", FIELDS).digest  # type: ignore[union-attr]


def test_the_same_champion_gives_the_same_plan() -> None:
    found = deployable("p", champion="a:1")
    assert changed(found, "a:1").digest == found.plan.digest


def several() -> Deployable:
    routes = (route("x-*", champion="a:1"), route("y-*", champion="b:1"), route("z-*", champion="a:2"))
    return deployable("p", routes=routes, champion="c:1")


@pytest.mark.parametrize(("ref", "pattern", "after"), [
    ("b:7", None, ["a:1", "b:7", "a:2", "c:1"]),
    ("a:7", None, ["a:7", "b:1", "a:7", "c:1"]),
    ("a:7", "x-*", ["a:7", "b:1", "a:2", "c:1"]),
    ("d:1", "*", ["a:1", "b:1", "a:2", "d:1"]),
    ("d:1", "y-*", ["a:1", "d:1", "a:2", "c:1"]),
])  # fmt: skip
def test_of_several_routes_those_of_the_model_or_the_named_one(ref: str, pattern: str | None, after: list[str]) -> None:
    assert champions(changed(several(), ref, pattern)) == after


@pytest.mark.parametrize(("ref", "pattern", "line"), [
    ("d:1", None, "no champion of plan 'p' is a version of 'd'; name the --route: 'x-[*]', 'y-[*]', 'z-[*]', '[*]'"),
    ("d:1", "q-*", "plan 'p' has no routes 'q-[*]'; its routes: 'x-"),
])  # fmt: skip
def test_a_route_that_can_not_be_told_is_refused(ref: str, pattern: str | None, line: str) -> None:
    with pytest.raises(UnknownName, match=line):
        changed(several(), ref, pattern)


def test_a_promoted_challenger_is_scored_once() -> None:
    (after,) = changed(deployable("p", champion="a:1", challengers=("b:1", "d:1")), "b:1").routes
    assert [(role, pin.name) for role, pin in after.roles()] == [("champion", "b:1"), ("challenger", "d:1")]


def test_a_plan_without_a_champion_gets_its_first() -> None:
    assert champions(changed(deployable("p"), "a:1")) == ["a:1"]


def test_a_model_must_read_what_the_extractor_gives() -> None:
    with pytest.raises(Rejected, match=r"^plan 'p', route '\*': w:1: features: \[speed\]; extractor"):
        changed(deployable("p", champion="a:1"), "w:1", features=("speed",))


def typed(**roles: Any) -> Deployable:
    return deployable("p", schema=("pumps", "fans"), of={"f:1": "fans"}, **roles)


def test_only_schemas_that_a_route_reaches_must_fit() -> None:
    found = typed(routes=(route(type="fans", champion="f:1"),), champion="a:1")
    assert [label(one) for one in found.plan.routes] == ["fans/*", "*"]
    assert champions(changed(found, "f:2", features=SCHEMAS["fans"].names)) == ["f:2", "a:1"]
    assert champions(changed(found, "a:2")) == ["f:1", "a:2"]
    with pytest.raises(Rejected, match="of schema 'pumps'"):
        changed(found, "f:2", "*", SCHEMAS["fans"].names)
