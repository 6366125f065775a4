"""Where the parts that a plan pins come from: what is defined in a namespace, and what an update carries itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.models.gate import unpack
from swapstream.models.objects import Objects
from swapstream.models.schema import Schema
from swapstream.operators.definitions import Definitions
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.statement import Kind, digest_of
from swapstream.operators.update import Update


class Lookup(Protocol):
    """Where pinned parts come from. Both raise UnknownName, or InvalidDefinition or Rejected when the bytes are no good."""

    def schema(self, pin: Pin) -> Schema: ...

    def model(self, pin: Pin) -> Artifact:
        """Raises Unavailable as well."""
        ...


class Needs(msgspec.Struct, frozen=True):
    """A plan and what it pins: schemas, then the extractors of users' code, then models."""

    plan: Plan
    parts: tuple[tuple[Kind, Pin], ...]


@lru_cache(16)
def needs(body: bytes) -> Needs:
    """Of an encoded plan; remembered, since shards ask again and again while they wait. Raises InvalidPlan."""
    plan = Plan.decode(body)
    schemas: list[tuple[Kind, Pin]] = [("schema", pin) for pin in plan.schemas]
    own: list[tuple[Kind, Pin]] = [("extractor", pin) for pin in sorted({pin for one in plan.inputs for pin in one.own}, key=str)]
    models: list[tuple[Kind, Pin]] = [("model", pin) for pin in sorted(plan.models(), key=str)]
    return Needs(plan, (*schemas, *own, *models))


class Carried:
    """An update as parts by digest. Raises InvalidDefinition for one that is none."""

    def __init__(self, body: bytes) -> None:
        update = Update.decode(body)
        self.digest = digest_of(update.plan)
        self.needs = needs(update.plan)
        self.models = {digest_of(artifact): artifact for artifact in update.models}


class DefinitionsLookup:
    """Parts of plans, from what is defined in one namespace; `carried` artifacts by digest come first."""

    def __init__(
        self, definitions: Definitions, namespace: str, objects: Objects | None = None, carried: Mapping[str, bytes] | None = None
    ) -> None:
        self._definitions, self._namespace = definitions, namespace
        self._objects, self._carried = objects or Objects(""), carried or {}

    def schema(self, pin: Pin) -> Schema:
        return Schema.decode(self._definitions.require(self._namespace, "schema", pin.digest))

    def model(self, pin: Pin) -> Artifact:
        return unpack(self._bytes(pin), pin.name, pin.digest)

    def _bytes(self, pin: Pin) -> bytes:
        if pin.digest in self._carried:
            return self._carried[pin.digest]
        statement = self._definitions.statement(self._namespace, "model", pin.digest)
        if statement is not None and statement.where:
            return self._objects.get(statement.digest, statement.size, statement.where)
        return self._definitions.require(self._namespace, "model", pin.digest)


def missing(
    definitions: Definitions, namespace: str, digest: str, before: int | None = None, update: bytes = b""
) -> str | None:
    """What a plan needs and is not defined (below an offset of `parameters`), None when all of it is there.

    `update`: the body of the token that carries the plan, and what the plan newly needs. What other tokens carried does not count,
    so that every worker finds the same.
    """
    try:
        if not update:
            return lacking(definitions, namespace, defined(definitions, namespace, digest, before), {}, before)
        carried = Carried(update)
    except (InvalidDefinition, UnknownName) as error:
        return str(error)
    if carried.digest != digest:
        return f"the update carries plan {carried.digest[:12]}…, its token names {digest[:12]}…"
    return lacking(definitions, namespace, carried.needs, carried.models, before)


def lacking(
    definitions: Definitions, namespace: str, needed: Needs, models: Mapping[str, bytes], before: int | None = None
) -> str | None:
    """The first part of a plan that is neither among `models` by digest nor defined, None when there is none."""
    for kind, pin in needed.parts:
        if pin.digest not in models and definitions.statement(namespace, kind, pin.digest, before) is None:
            return f"plan {needed.plan.name!r}: {kind} {pin} is not defined{below(before)}"
    return None


def defined(definitions: Definitions, namespace: str, digest: str, before: int | None = None) -> Needs:
    """A plan that is defined. Raises UnknownName, InvalidPlan."""
    body = definitions.body(namespace, "plan", digest, before)
    if body is None:
        raise UnknownName(f"plan {digest[:12]}… is not defined{below(before)}")
    return needs(body)


def below(before: int | None) -> str:
    return "" if before is None else f" below offset {before} of parameters"
