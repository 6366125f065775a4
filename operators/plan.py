"""Plans: the short YAML file a person writes, and the resolved, immutable description that is deployed.

A resolved plan pins schema and models to digests, so that its own digest stands for everything that decides a score.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidPlan, UnknownName
from swapstream.models.schema import Schema
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.wire import read

VERSION = 1
EVERY_DEVICE = "*"


class Pin(msgspec.Struct, frozen=True):
    """A name, and the sha256 of what it stands for."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@{self.digest[:12]}"


class Route(msgspec.Struct, frozen=True):
    """Which models score the devices that match a glob pattern. `threshold` overrides the champion's own."""

    devices: str = EVERY_DEVICE
    champion: Pin | None = None
    challengers: tuple[Pin, ...] = ()
    canary: Pin | None = None
    threshold: float | None = None

    def roles(self) -> Iterator[tuple[str, Pin]]:
        """Each (role, model), the champion first."""
        if self.champion:
            yield "champion", self.champion
        for model in self.challengers:
            yield "challenger", model
        if self.canary:
            yield "canary", self.canary


class Plan(msgspec.Struct, frozen=True):
    """What a deployment runs. A device takes the first route whose pattern matches it."""

    name: str
    schema: Pin
    extractor: tuple[Any, ...]
    extractor_version: str
    routes: tuple[Route, ...]
    v: int = VERSION

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.encode()).hexdigest()

    def models(self) -> set[Pin]:
        """Every model of every route."""
        return {pin for route in self.routes for _, pin in route.roles()}

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self, order="deterministic")

    @classmethod
    def decode(cls, body: bytes) -> Plan:
        """Raises InvalidPlan."""
        plan = read(body, cls, InvalidPlan, "a plan")
        if plan.v != VERSION:
            raise InvalidPlan(f"plan of version {plan.v}: this release reads version {VERSION}")
        return plan


class RouteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route as a person writes it: models as name or name:version."""

    devices: str = EVERY_DEVICE
    champion: str | None = None
    challengers: tuple[str, ...] = ()
    canary: str | None = None
    threshold: float | None = None


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan as a person writes it. Roles at the top level are short for one route that takes every device."""

    name: str
    schema: str
    extractor: tuple[Any, ...] = ("identity",)
    routes: tuple[RouteFile, ...] = ()
    champion: str | None = None
    challengers: tuple[str, ...] = ()
    canary: str | None = None
    threshold: float | None = None

    def every_route(self) -> tuple[RouteFile, ...]:
        """The routes, with roles at the top level as the last one. Raises InvalidPlan."""
        rest = RouteFile(EVERY_DEVICE, self.champion, self.challengers, self.canary, self.threshold)
        if rest == RouteFile() and self.routes:
            return self.routes
        if any(route.devices == EVERY_DEVICE for route in self.routes):
            raise InvalidPlan(
                f"plan {self.name!r}: a route for devices {EVERY_DEVICE!r} and roles at the top level say the same thing twice"
            )
        return (*self.routes, rest)


class Catalogue(Protocol):
    """Where names are looked up when a plan is resolved. Both raise UnknownName."""

    def schema(self, name: str) -> Schema: ...

    def model(self, ref: str) -> Artifact: ...


def load_plan_file(path: str | Path) -> PlanFile:
    """Read a YAML plan. Raises UnknownName when there is no such file, InvalidPlan when it can't be one."""
    file = Path(path)
    if not file.is_file():
        raise UnknownName(f"plan {str(path)!r}: no such file")
    try:
        return msgspec.yaml.decode(file.read_bytes(), type=PlanFile)
    except msgspec.DecodeError as error:
        raise InvalidPlan(f"plan {path}: {error}") from error


def resolve(file: PlanFile, catalogue: Catalogue) -> Plan:
    """Pin every name to a digest and check that the parts fit. Raises UnknownName, InvalidPlan."""
    schema = catalogue.schema(file.schema)
    extractor = Composite.parse(list(file.extractor), schema.names)
    routes = tuple(resolve_route(file.name, route, extractor, catalogue) for route in file.every_route())
    return Plan(file.name, Pin(schema.name, schema.digest), tuple(extractor.spec), extractor.version, routes)


def resolve_route(plan: str, route: RouteFile, extractor: Composite, catalogue: Catalogue) -> Route:
    """One route with its models pinned. Raises UnknownName, InvalidPlan."""

    def pin(ref: str) -> Pin:
        artifact = catalogue.model(ref)
        if tuple(artifact.manifest.features) != extractor.features:
            raise InvalidPlan(
                f"plan {plan!r}: model {artifact.ref} takes features {list(artifact.manifest.features)}, "
                f"extractor {extractor.name} gives {list(extractor.features)}"
            )
        trained = artifact.manifest.lineage.extractor
        if trained and trained != extractor.ref:
            raise InvalidPlan(
                f"plan {plan!r}: model {artifact.ref} was trained on features of extractor {trained}, the plan's is "
                f"{extractor.ref}: the same names under other settings"
            )
        return Pin(artifact.ref, artifact.digest)

    if route.champion is None and (route.challengers or route.canary or route.threshold is not None):
        raise InvalidPlan(
            f"plan {plan!r}, devices {route.devices!r}: challengers, canary and threshold need a champion beside them"
        )
    if len(set(route.challengers)) < len(route.challengers):
        raise InvalidPlan(f"plan {plan!r}, devices {route.devices!r}: a challenger stands there twice")
    if route.threshold is not None and not math.isfinite(route.threshold):
        raise InvalidPlan(f"plan {plan!r}, devices {route.devices!r}: threshold is {route.threshold}; allowed: a finite number")
    return Route(
        route.devices,
        pin(route.champion) if route.champion else None,
        tuple(map(pin, route.challengers)),
        pin(route.canary) if route.canary else None,
        route.threshold,
    )
