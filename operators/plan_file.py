"""Plans as a person writes them: a short YAML file, resolved by pinning every name to a digest.

    name: machines
    schema: [pumps, fans]                 # or one name; a name in conf/schemas/, or a YAML file
    extractor: {pumps: [identity, "vibration:Spectrum"], fans: [identity]}         # or one list for all
    code: [vibration.py]                  # extractors of one's own: files and packages, relative to this one
    tags: {critical: ["pump-7", "pump-9*"]}
    routes:
      - {type: fans, champion: fan:3}
      - {tag: critical, champion: pump:8, on_error: pump:6}
      - {devices: "pump-1*", champion: pump:7, threshold: 4.5}
    champion: pump:6                      # roles at the top level: for whatever no route took
    devices: {max: 100000, evict_after: 30d}
    decoy: true                           # features are archived beside the scores
    require: {max_alarm_rate: 0.01}       # what champions must show before a swap to them
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from swapstream.models.artifact import Artifact
from swapstream.models.durations import milliseconds
from swapstream.models.errors import InvalidPlan
from swapstream.models.finding import Finding, refuse
from swapstream.models.schema import Schema
from swapstream.models.yaml_file import read_mapping
from swapstream.operators.code import pinned, refs_in, register
from swapstream.operators.code import read as read_code
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.contract import trial
from swapstream.operators.extractors.definition import own_pins
from swapstream.operators.plan import EVERY_DEVICE, Input, Pin, Plan, Require, Route, check_schemas
from swapstream.operators.retention import Retention


class RouteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route: models as name or name:version, `type` the name of a schema, `tag` one of the plan's."""

    devices: str = EVERY_DEVICE
    champion: str | None = None
    challengers: tuple[str, ...] = ()
    canary: str | None = None
    threshold: float | None = None
    type: str = ""
    on_error: str | None = None
    tag: str = ""
    decoy: bool = False

    @property
    def takes_all(self) -> bool:
        """Whether it takes every device of its type."""
        return self.devices == EVERY_DEVICE and not self.tag

    def __str__(self) -> str:
        said = f"devices {self.devices!r}" + (f" with tag {self.tag!r}" if self.tag else "")
        return said + (f" of type {self.type!r}" if self.type else "")


class DevicesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many devices of each schema a shard remembers, and for how long after their last reading."""

    max: Annotated[int, Meta(ge=1, le=100_000_000)] = 100_000
    evict_after: str = "30d"


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan. Roles at the top level are short for a last route that takes every device."""

    name: str
    schema: str | tuple[str, ...]
    extractor: tuple[Any, ...] | dict[str, tuple[Any, ...]] = ("identity",)
    routes: tuple[RouteFile, ...] = ()
    champion: str | None = None
    challengers: tuple[str, ...] = ()
    canary: str | None = None
    threshold: float | None = None
    devices: DevicesFile = DevicesFile()
    on_error: str | None = None
    tags: dict[str, tuple[str, ...]] = {}
    require: Require = Require()
    decoy: bool = False
    code: tuple[str, ...] = ()

    @property
    def schemas(self) -> tuple[str, ...]:
        return (self.schema,) if isinstance(self.schema, str) else self.schema

    @property
    def digests(self) -> frozenset[str]:
        """Of the archives of users' code that its extractors are in."""
        specs = self.extractor.values() if isinstance(self.extractor, dict) else [self.extractor]
        return frozenset(ref.digest for spec in specs for ref in refs_in(spec))

    def every_route(self) -> tuple[RouteFile, ...]:
        """The routes, with roles at the top level as the last one. Raises InvalidPlan."""
        rest = RouteFile(EVERY_DEVICE, self.champion, self.challengers, self.canary, self.threshold, on_error=self.on_error,
                         decoy=self.decoy)
        if rest == RouteFile() and self.routes:
            return self.routes
        if any(route.takes_all and not route.type for route in self.routes):
            raise InvalidPlan(
                f"plan {self.name!r}: a route for devices {EVERY_DEVICE!r} and roles at the top level say the same thing twice"
            )
        return (*self.routes, rest)

    def inputs(self, find: Callable[[str], Schema]) -> list[tuple[Schema, Composite]]:
        """Each schema with its extractor. Raises InvalidPlan, and what `find` raises."""
        schemas = [find(name) for name in self.schemas]
        check_schemas(self.name, schemas)
        retention = self.retention()
        found = [(schema, Composite.parse(list(spec), schema.names, retention)) for schema, spec in self._specs(schemas)]
        for _, extractor in found:
            if extractor.code:
                trial(extractor)
        return found

    def _specs(self, schemas: Sequence[Schema]) -> list[tuple[Schema, tuple[Any, ...]]]:
        if isinstance(self.extractor, tuple):
            return [(schema, self.extractor) for schema in schemas]
        names = [schema.name for schema in schemas]
        wrong = sorted(self.extractor.keys() ^ set(names))
        if wrong:
            raise InvalidPlan(
                f"plan {self.name!r}: extractor names schemas {', '.join(sorted(self.extractor))}, the plan has "
                f"{', '.join(names)}; {wrong[0]!r} must be in both or in none"
            )
        return [(schema, self.extractor[schema.name]) for schema in schemas]

    def retention(self) -> Retention:
        """Raises InvalidPlan."""
        try:
            return Retention(self.devices.max, max(1, milliseconds(self.devices.evict_after)))
        except ValueError as error:
            raise InvalidPlan(f"plan {self.name!r}: devices: evict_after {error}") from error


class Catalogue(Protocol):
    """Where names are looked up when a plan is resolved. Both raise UnknownName."""

    def schema(self, name: str) -> Schema: ...

    def model(self, ref: str) -> Artifact: ...


def load_plan_file(path: str | Path) -> PlanFile:
    """Read a YAML plan. Raises UnknownName when there is no such file, InvalidPlan when it can't be one."""
    try:
        found = msgspec.convert(read_mapping(path, "plan", InvalidPlan), PlanFile)
    except msgspec.ValidationError as error:
        raise InvalidPlan(f"plan {path}: {error}") from error
    return with_code(found, Path(path).parent)


def with_code(file: PlanFile, beside: Path) -> PlanFile:
    """The same with the code that it names read, known to this process, and pinned. Raises UnknownName, InvalidPlan."""
    archives = [register(read_code(beside / name)) for name in file.code]
    spec = file.extractor
    if isinstance(spec, dict):
        return msgspec.structs.replace(file, extractor={name: pinned(one, archives) for name, one in spec.items()})
    return msgspec.structs.replace(file, extractor=pinned(spec, archives))


def resolve(file: PlanFile, catalogue: Catalogue) -> Plan:
    """Pin every name to a digest and check that the parts fit. Raises UnknownName, InvalidPlan, Rejected for a model that does
    not fit its route's extractors."""
    check_tags(file)
    inputs = file.inputs(catalogue.schema)
    described = tuple(Input(Pin(s.name, s.digest), tuple(e.spec), e.version, own_pins(e)) for s, e in inputs)
    open_to = {schema.name: extractor for schema, extractor in inputs}
    routes = []
    for route in file.every_route():
        reached = reach(file.name, route, open_to, [schema.name for schema, _ in inputs])
        routes.append(resolve_route(file.name, route, reached, catalogue))
        if route.takes_all:
            open_to = {name: extractor for name, extractor in open_to.items() if name not in reached}
    return Plan(file.name, described, tuple(routes), file.retention(), file.tags, file.require).oldest()


def check_tags(file: PlanFile) -> None:
    """A tag names devices, and a route names a tag. Raises InvalidPlan."""
    for tag, patterns in file.tags.items():
        if not tag or not all(patterns) or not patterns:
            raise InvalidPlan(f"plan {file.name!r}: tag {tag!r} is {list(patterns)}; a tag has a name, and patterns of devices")
    for route in file.routes:
        if route.tag and route.tag not in file.tags:
            raise InvalidPlan(f"plan {file.name!r}, {route}: the plan's tags are {', '.join(file.tags) or 'none'}")


def reach(plan: str, route: RouteFile, open_to: dict[str, Composite], schemas: list[str]) -> dict[str, Composite]:
    """The schemas whose readings may take a route. Raises InvalidPlan when there are none."""
    if route.type and route.type not in schemas:
        raise InvalidPlan(f"plan {plan!r}, {route}: the plan's schemas are {', '.join(schemas)}")
    found = {name: extractor for name, extractor in open_to.items() if route.type in ("", name)}
    if not found:
        raise InvalidPlan(f"plan {plan!r}, {route}: never taken, routes above take every device; put it before them")
    return found


def resolve_route(plan: str, route: RouteFile, inputs: dict[str, Composite], catalogue: Catalogue) -> Route:
    """One route with its models pinned. Raises UnknownName, InvalidPlan, Rejected."""

    def pin(ref: str) -> Pin:
        artifact = catalogue.model(ref)
        for schema, extractor in inputs.items():
            check_fit(f"plan {plan!r}, {route}", artifact, schema, extractor, len(inputs) > 1)
        return Pin(artifact.ref, artifact.digest)

    others = route.challengers or route.canary or route.on_error or route.threshold is not None
    if route.champion is None and others:
        raise InvalidPlan(f"plan {plan!r}, {route}: challengers, canary, on_error and threshold need a champion beside them")
    if len(set(route.challengers)) < len(route.challengers):
        raise InvalidPlan(f"plan {plan!r}, {route}: a challenger stands there twice")
    if route.threshold is not None and not math.isfinite(route.threshold):
        raise InvalidPlan(f"plan {plan!r}, {route}: threshold is {route.threshold}; allowed: a finite number")
    champion = pin(route.champion) if route.champion else None
    on_error = pin(route.on_error) if route.on_error else None
    if on_error and on_error == champion:
        raise InvalidPlan(f"plan {plan!r}, {route}: on_error is {on_error.name}, the champion, which would fail where that does")
    return Route(
        route.devices,
        champion,
        tuple(map(pin, route.challengers)),
        pin(route.canary) if route.canary else None,
        route.threshold,
        route.type,
        on_error,
        route.tag,
        route.decoy,
    )


def check_fit(where: str, artifact: Artifact, schema: str, extractor: Composite, several: bool) -> None:
    """A model must read what the extractor gives. Raises Rejected as the gate does, behind `where`; the check is features, shape or
    extractor."""
    of = f"extractor {extractor.name}" + (f" of schema {schema!r}" if several else "")
    hint = "; give the route a type, or each type a route" if several else ""
    refuse(f"{where}: {artifact.ref}", misfits(artifact, extractor, of, hint))


def misfits(artifact: Artifact, extractor: Composite, of: str, hint: str) -> Iterator[Finding]:
    """What a model reads that the extractor, in words `of`, does not give."""
    said = artifact.manifest
    if tuple(said.features) != extractor.features:
        yield Finding("features", short(said.features), f"{of} gives {short(extractor.features)}{hint}", False)
    if said.shape not in ((), extractor.shape):
        yield Finding("shape", f"windows of {list(said.shape)}", f"{of} gives {list(extractor.shape) or 'none'}{hint}", False)
    trained = said.lineage.extractor
    if trained and trained != extractor.ref:
        is_ = f"{of} is {extractor.ref}: the same names under other settings{hint}"
        yield Finding("extractor", f"was trained on features of extractor {trained}", is_, False)


def short(names: Sequence[str]) -> str:
    """A list that stays a line."""
    shown = ", ".join(names[:12])
    return f"[{shown}, … {len(names)} in all]" if len(names) > 12 else f"[{shown}]"
