"""Plans made of others: the one in force with another champion, or another challenger. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidPlan, UnknownName
from swapstream.models.schema import Schema
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.plan import Pin, Plan, Route
from swapstream.operators.plan_file import check_fit


def label(route: Route) -> str:
    """How a route is called on the command line: its devices, behind its type and before its tag where it has them."""
    return (f"{route.type}/" if route.type else "") + route.devices + (f"#{route.tag}" if route.tag else "")


def with_champion(plan: Plan, artifact: Artifact, schemas: Sequence[Schema], pattern: str | None = None) -> Plan:
    """The plan with `artifact` as the champion of some routes, everything else as it was.

    `pattern` names the route. Without it these are the routes whose champion is another version of the model, or the plan's only
    route. `schemas` are the plan's, in its order. Where the new champion was a challenger it is one no longer. Raises UnknownName
    for a route that can't be told, Rejected for a model that does not read what the extractor gives.
    """
    places = chosen(plan, artifact.manifest.name, pattern)
    check_places(plan, artifact, schemas, places)
    pin = Pin(artifact.ref, artifact.digest)
    routes = [promoted(route, pin) if place in places else route for place, route in enumerate(plan.routes)]
    return msgspec.structs.replace(plan, routes=tuple(routes))


def with_challenger(plan: Plan, artifact: Artifact, schemas: Sequence[Schema], pattern: str | None = None) -> Plan:
    """The plan with `artifact` as a challenger of some routes, in the place of other versions of it; champions stay.

    Without a `pattern` these are the routes where another version is champion or challenger, or the plan's only route. A route without
    champion, or with this very one, has no use for it. Raises UnknownName, InvalidPlan, Rejected.
    """
    name, pin = artifact.manifest.name, Pin(artifact.ref, artifact.digest)
    places = [place for place, route in enumerate(plan.routes) if any(model_name(one) == name for one in route.challengers)]
    if pattern is not None or not places:
        places = chosen(plan, name, pattern)
    for route in (plan.routes[place] for place in places):
        if route.champion in (None, pin):
            said = "has no champion to challenge: make it the first one with `swap`" if route.champion is None else "has it as champion"
            raise InvalidPlan(f"plan {plan.name!r}, route {label(route)!r}: challenger {artifact.ref}: the route {said}")
    check_places(plan, artifact, schemas, places)
    routes = [challenged(route, pin, name) if place in places else route for place, route in enumerate(plan.routes)]
    return msgspec.structs.replace(plan, routes=tuple(routes))


def check_places(plan: Plan, artifact: Artifact, schemas: Sequence[Schema], places: Sequence[int]) -> None:
    """Raises Rejected for a model that does not read what the extractor gives on these routes."""
    composites = {
        schema.name: Composite.parse(list(one.extractor), schema.names, plan.devices)
        for one, schema in zip(plan.inputs, schemas, strict=True)
    }
    for place in places:
        for name in reached(plan, place):
            where = f"plan {plan.name!r}, route {label(plan.routes[place])!r}"
            check_fit(where, artifact, name, composites[name], len(composites) > 1)


def challenged(route: Route, pin: Pin, name: str) -> Route:
    others = tuple(challenger for challenger in route.challengers if model_name(challenger) != name)
    return msgspec.structs.replace(route, challengers=(*others, pin))


def promoted(route: Route, pin: Pin) -> Route:
    others = tuple(challenger for challenger in route.challengers if challenger != pin)
    return msgspec.structs.replace(route, champion=pin, challengers=others)


def chosen(plan: Plan, model: str, pattern: str | None) -> list[int]:
    """The places of the routes that get the new champion. Raises UnknownName."""
    known = ", ".join(repr(label(route)) for route in plan.routes)
    if pattern is not None:
        exact = [place for place, route in enumerate(plan.routes) if pattern == label(route)]
        named = exact or [place for place, route in enumerate(plan.routes) if pattern in (route.devices, route.tag)]
        if len(named) != 1:
            raise UnknownName(f"plan {plan.name!r} has {len(named) or 'no'} routes {pattern!r}; its routes: {known}")
        return named
    same = [place for place, route in enumerate(plan.routes) if route.champion and model_name(route.champion) == model]
    if not same and len(plan.routes) > 1:
        raise UnknownName(f"no champion of plan {plan.name!r} is a version of {model!r}; name the --route: {known}")
    return same or [0]


def model_name(pin: Pin) -> str:
    """Without its version."""
    return pin.name.partition(":")[0]


def reached(plan: Plan, place: int) -> list[str]:
    """The schemas whose readings may take a route: its type's, but for those that a route above takes whole."""
    above = [route for route in plan.routes[:place] if route.takes_all]
    taken = {pin.name for pin in plan.schemas if any(route.type in ("", pin.name) for route in above)}
    found = [pin.name for pin in plan.schemas if plan.routes[place].type in ("", pin.name) and pin.name not in taken]
    if not found:
        raise InvalidPlan(f"plan {plan.name!r}: no reading takes route {label(plan.routes[place])!r}")
    return found
