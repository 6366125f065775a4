"""Plans: the resolved, immutable description that is deployed. What a person writes is in plan_file.py.

A resolved plan pins schemas and models to digests, so that its own digest stands for everything that decides a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from swapstream.models.errors import InvalidPlan
from swapstream.models.schema import Schema
from swapstream.operators.retention import DEFAULT_RETENTION, Retention
from swapstream.operators.wire import read

VERSION = 2
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


class Input(msgspec.Struct, frozen=True):
    """Messages of one schema, and the extractor that makes features of them: its canonical spec and its code's version."""

    schema: Pin
    extractor: tuple[Any, ...]
    extractor_version: str


class Route(msgspec.Struct, frozen=True):
    """Which models score the devices that match a glob pattern, of one type (a schema's name) or, "", of every type.

    `threshold` overrides the champion's own.
    """

    devices: str = EVERY_DEVICE
    champion: Pin | None = None
    challengers: tuple[Pin, ...] = ()
    canary: Pin | None = None
    threshold: float | None = None
    type: str = ""

    def roles(self) -> Iterator[tuple[str, Pin]]:
        """Each (role, model), the champion first."""
        if self.champion:
            yield "champion", self.champion
        for model in self.challengers:
            yield "challenger", model
        if self.canary:
            yield "canary", self.canary


class Plan(msgspec.Struct, frozen=True):
    """What a deployment runs. A device takes the first route that matches its reading's type and its name; `devices` bounds
    what a shard remembers of the devices of each schema.
    """

    name: str
    inputs: tuple[Input, ...]
    routes: tuple[Route, ...]
    devices: Retention = DEFAULT_RETENTION
    v: int = VERSION

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def schemas(self) -> list[Pin]:
        return [one.schema for one in self.inputs]

    def models(self) -> set[Pin]:
        """Every model of every route."""
        return {pin for route in self.routes for _, pin in route.roles()}

    def encode(self) -> bytes:
        """A plan that was read as version 1 gives the bytes that it was, so that its digest stays."""
        return msgspec.msgpack.encode(first(self) if self.v == 1 else self, order="deterministic")

    @classmethod
    def decode(cls, body: bytes) -> Plan:
        """A plan of any version. Raises InvalidPlan."""
        version = read(body, Versioned, InvalidPlan, "a plan").v
        if version == 1:
            return second(read(body, PlanV1, InvalidPlan, "a plan"))
        if version != VERSION:
            raise InvalidPlan(f"plan of version {version}: this release reads versions 1 to {VERSION}")
        plan = read(body, cls, InvalidPlan, "a plan")
        if not plan.inputs:
            raise InvalidPlan(f"plan {plan.name!r}: no schema")
        return plan


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


def second(plan: PlanV1) -> Plan:
    """A plan of version 1 in the words of version 2. It still calls itself version 1."""
    only = Input(plan.schema, plan.extractor, plan.extractor_version)
    routes = tuple(Route(**msgspec.structs.asdict(route)) for route in plan.routes)
    return Plan(plan.name, (only,), routes, FOR_EVER, 1)


def first(plan: Plan) -> PlanV1:
    """What `second` took."""
    (only,) = plan.inputs
    routes = tuple(RouteV1(r.devices, r.champion, r.challengers, r.canary, r.threshold) for r in plan.routes)
    return PlanV1(plan.name, only.schema, only.extractor, only.extractor_version, routes, 1)


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
