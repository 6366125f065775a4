"""Plans: the resolved, immutable description that is deployed. What a person writes is in plan_file.py.

A resolved plan pins schemas and models to digests, so that its own digest stands for everything that decides a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from swapstream.models.errors import InvalidPlan
from swapstream.models.schema import Schema
from swapstream.operators.code import refs_in
from swapstream.operators.retention import DEFAULT_RETENTION, Retention
from swapstream.operators.wire import check_version, read

VERSION = 4
EVERY_DEVICE = "*"
MAX_SCHEMAS = 64

FOR_EVER = Retention(100_000_000, 10**15)
"""What plans of version 1 say of devices: none is forgotten."""


class Pin(msgspec.Struct, frozen=True):
    """A name, and the sha256 of what it stands for."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@{self.digest[:12]}"


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """Messages of one schema, and the extractor that makes features of them: its canonical spec and its code's version.

    Users' code stands in the spec as module:Class@digest; `own` are the definitions of these (operators/extractors/definition.py).
    """

    schema: Pin
    extractor: tuple[Any, ...]
    extractor_version: str
    own: tuple[Pin, ...] = ()


class Route(msgspec.Struct, frozen=True):
    """Which models score the devices that match a glob pattern, of one type (a schema's name) or, "", of every type; with a
    `tag`, only those that the plan's tag of this name has.

    `threshold` overrides the champion's own. `on_error` answers for the champion on the records on which that fails. `decoy`: features
    are archived beside the scores; without a champion they always are.
    """

    devices: str = EVERY_DEVICE
    champion: Pin | None = None
    challengers: tuple[Pin, ...] = ()
    canary: Pin | None = None
    threshold: float | None = None
    type: str = ""
    on_error: Pin | None = None
    tag: str = ""
    decoy: bool = False

    @property
    def takes_all(self) -> bool:
        """Whether it takes every device of its type."""
        return self.devices == EVERY_DEVICE and not self.tag

    def roles(self) -> Iterator[tuple[str, Pin]]:
        """Each (role, model), the champion first, the one that answers for it last."""
        if self.champion:
            yield "champion", self.champion
        for model in self.challengers:
            yield "challenger", model
        if self.canary:
            yield "canary", self.canary
        if self.on_error:
            yield "on_error", self.on_error


Share = Annotated[float, Meta(ge=0, le=1)]


class Require(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a champion must show on records of before, next to the champion in force; None asks nothing.

    - min_average_precision, max_alarm_rate: shares. max_alarm_rate_ratio: of its alarm rate to that of the champion in force.
    """

    min_average_precision: Share | None = None
    max_alarm_rate: Share | None = None
    max_alarm_rate_ratio: Annotated[float, Meta(gt=0)] | None = None


class Plan(msgspec.Struct, frozen=True):
    """What a deployment runs. A device takes the first route that matches its reading's type, its name and, where the route has
    one, its tag; `devices` bounds what a shard remembers of the devices of each schema, `tags` maps a tag to glob patterns.
    """

    name: str
    inputs: tuple[Input, ...]
    routes: tuple[Route, ...]
    devices: Retention = DEFAULT_RETENTION
    tags: dict[str, tuple[str, ...]] = {}
    require: Require = Require()
    v: int = VERSION

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def schemas(self) -> list[Pin]:
        return [one.schema for one in self.inputs]

    @property
    def code(self) -> tuple[str, ...]:
        """The digests of the archives of users' code that it needs, sorted."""
        return tuple(sorted({ref.digest for one in self.inputs for ref in refs_in(one.extractor)}))

    def models(self) -> set[Pin]:
        """Every model of every route."""
        return {pin for route in self.routes for _, pin in route.roles()}

    def oldest(self) -> Plan:
        """The same in the oldest version that can say it of 2 and later: so its digest stays over releases."""
        third = self.tags or self.require != Require() or any(route.on_error or route.tag for route in self.routes)
        fourth = any(route.decoy for route in self.routes) or any(one.own for one in self.inputs)
        return msgspec.structs.replace(self, v=VERSION if fourth else 3 if third else 2)

    def encode(self) -> bytes:
        """A plan that was read as an older version gives the bytes that it was, so that its digest stays."""
        older = WRITERS.get(self.v)
        return msgspec.msgpack.encode(older(self) if older else self, order="deterministic")

    @classmethod
    def decode(cls, body: bytes) -> Plan:
        """A plan of any version; it still calls itself so. Raises InvalidPlan."""
        version = read(body, Versioned, InvalidPlan, "a plan").v
        check_version(version, VERSION, InvalidPlan, "plan")
        plan = READERS[version](body)
        if not plan.inputs:
            raise InvalidPlan(f"plan {plan.name!r}: no schema")
        for one in plan.inputs:
            _check_own(plan.name, one)
        if strange := {route.tag for route in plan.routes if route.tag} - plan.tags.keys():
            raise InvalidPlan(f"plan {plan.name!r}: tag {min(strange)!r} of a route is none of the plan's")
        return plan


def _check_own(plan: str, one: Input) -> None:
    """Users' code is pinned, and defined. Raises InvalidPlan."""
    refs = refs_in(one.extractor)
    if loose := next((ref for ref in refs if not ref.digest), None):
        raise InvalidPlan(f"plan {plan!r}: extractor {loose} without the digest of its code")
    if bool(refs) != bool(one.own):
        raise InvalidPlan(f"plan {plan!r}: {len(refs)} extractors out of users' code, of which {len(one.own)} are defined")


class Versioned(msgspec.Struct, frozen=True):
    """What all versions share."""

    v: int


class RouteV1(msgspec.Struct, frozen=True):
    """A route of version 1."""

    devices: str = EVERY_DEVICE
    champion: Pin | None = None
    challengers: tuple[Pin, ...] = ()
    canary: Pin | None = None
    threshold: float | None = None


class PlanV1(msgspec.Struct, frozen=True):
    """A plan of version 1: one schema."""

    name: str
    schema: Pin
    extractor: tuple[Any, ...]
    extractor_version: str
    routes: tuple[RouteV1, ...]
    v: int


class RouteV2(RouteV1, frozen=True):
    """A route of version 2: it may be of one type."""

    type: str = ""


class PlanV2(msgspec.Struct, frozen=True):
    """A plan of version 2: several schemas, and how many devices are remembered."""

    name: str
    inputs: tuple[Input, ...]
    routes: tuple[RouteV2, ...]
    devices: Retention = DEFAULT_RETENTION
    v: int = 2


class RouteV3(RouteV2, frozen=True):
    """A route of version 3: devices with a tag, and who answers for the champion."""

    on_error: Pin | None = None
    tag: str = ""


class PlanV3(msgspec.Struct, frozen=True):
    """A plan of version 3: tags, and what a champion must show."""

    name: str
    inputs: tuple[Input, ...]
    routes: tuple[RouteV3, ...]
    devices: Retention = DEFAULT_RETENTION
    tags: dict[str, tuple[str, ...]] = {}
    require: Require = Require()
    v: int = 3


def from_first(body: bytes) -> Plan:
    """A plan of version 1 in the words of today."""
    plan = read(body, PlanV1, InvalidPlan, "a plan")
    only = Input(plan.schema, plan.extractor, plan.extractor_version)
    routes = tuple(msgspec.convert(route, Route, from_attributes=True) for route in plan.routes)
    return Plan(plan.name, (only,), routes, FOR_EVER, v=1)


def from_second(body: bytes) -> Plan:
    """A plan of version 2 in the words of today."""
    return msgspec.convert(read(body, PlanV2, InvalidPlan, "a plan"), Plan, from_attributes=True)


def from_third(body: bytes) -> Plan:
    """A plan of version 3 in the words of today."""
    return msgspec.convert(read(body, PlanV3, InvalidPlan, "a plan"), Plan, from_attributes=True)


def from_fourth(body: bytes) -> Plan:
    """A plan of version 4."""
    return read(body, Plan, InvalidPlan, "a plan")


def first(plan: Plan) -> PlanV1:
    """What `from_first` took."""
    (only,) = plan.inputs
    routes = tuple(msgspec.convert(route, RouteV1, from_attributes=True) for route in plan.routes)
    return PlanV1(plan.name, only.schema, only.extractor, only.extractor_version, routes, 1)


def second(plan: Plan) -> PlanV2:
    """What `from_second` took."""
    return msgspec.convert(plan, PlanV2, from_attributes=True)


def third(plan: Plan) -> PlanV3:
    """What `from_third` took."""
    return msgspec.convert(plan, PlanV3, from_attributes=True)


READERS: dict[int, Callable[[bytes], Plan]] = {1: from_first, 2: from_second, 3: from_third, 4: from_fourth}
WRITERS: dict[int, Callable[[Plan], PlanV1 | PlanV2 | PlanV3]] = {1: first, 2: second, 3: third}


def check_schemas(plan: str, schemas: Sequence[Schema]) -> None:
    """Several schemas must be told apart by one key of a message. Raises InvalidPlan."""
    if not 1 <= len(schemas) <= MAX_SCHEMAS:
        raise InvalidPlan(f"plan {plan!r}: {len(schemas)} schemas; 1 to {MAX_SCHEMAS} are allowed")
    for what in ("name", "type"):
        found = [getattr(schema, what) for schema in schemas]
        if len(set(found)) < len(found):
            twice = next(one for one in found if found.count(one) > 1)
            raise InvalidPlan(
                f"plan {plan!r}: {found.count(twice)} schemas of {what} {twice!r}; each needs one of its own"
                + (", only one may have none" if what == "type" else "")
            )
    for what, values in (("codec", [s.codec for s in schemas]), ("type_key", [s.type_key for s in schemas if s.type])):
        if len(set(values)) > 1:
            raise InvalidPlan(f"plan {plan!r}: schemas with {what} {' and '.join(sorted(set(values)))}; all must have the same")
