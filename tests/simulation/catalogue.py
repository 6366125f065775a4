"""The plans of the simulation, made and loaded once for all seeds."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

import msgspec

from swapstream.operators.definitions import Definitions
from swapstream.operators.lookup import DefinitionsLookup
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Pin
from swapstream.operators.sessions import Sessions
from swapstream.operators.statement import digest_of
from swapstream.operators.update import Update
from tests.support.shards import EWM, NAMESPACE, Deployable, Parameters, deployable, route

DEVICES = ("pump-1", "pump-2", "fan-1", "fan-2")
OF = {"s:1": "fans"}
FANS = route(type="fans", champion="s:1")
BELTS = route("pump-*", type="belts", champion="b:1", canary="d:1")


class Junk(msgspec.Struct, frozen=True):
    """A model that the gate refuses: it is none."""

    ref: str = "junk:1"

    def encode(self) -> bytes:
        return b"not an artifact"


def failing() -> Deployable:
    """A plan whose champion can't be loaded; "a:1" answers in its place."""
    plain = deployable("plain", champion="a:1")
    (every,) = plain.plan.routes
    junk = msgspec.structs.replace(every, champion=Pin("junk:1", digest_of(Junk().encode())), on_error=every.champion)
    plan = msgspec.structs.replace(plain.plan, name="failing", routes=(junk,))
    return Deployable(plan, plain.schemas, (*plain.models, Junk()))


@cache
def plans() -> tuple[Deployable, ...]:
    """Plans that differ in models, extractor, state, routes and schema."""
    return (
        deployable("plain", champion="a:1"),
        deployable("smooth", extractor=EWM, champion="b:1", challengers=("c:1", "d:1")),
        deployable("smooth-again", extractor=EWM, champion="c:1", threshold=0.5),
        deployable("both", extractor=("identity", *EWM), champion="e:1", canary="f:1"),
        deployable("routed", routes=(route("pump-*", champion="a:2"), route("fan-1", champion="a:1", canary="a:2"))),
        deployable("archive", extractor=EWM),
        deployable("wide", schema="wide", champion="w:1"),
        deployable("typed", schema=("pumps", "fans"), extractor=EWM, of=OF, routes=(FANS,), champion="b:1"),
        deployable("machines", schema=("belts", "fans", "pumps"), extractor=EWM, of=OF, routes=(FANS, BELTS), champion="c:1"),
        deployable("columns", schema="belts", extractor=EWM, champion="b:1", challengers=("c:1",)),
        failing(),
    )


ALIKE = ("plain", "smooth", "smooth-again", "both", "failing")
"""Plans of one schema under which every reading is scored: only between such can one job hand over to another."""


@cache
def alike() -> tuple[Deployable, ...]:
    return tuple(one for one in plans() if one.plan.name in ALIKE)


@cache
def update_of(plan: str) -> bytes:
    """A plan (by digest) and its models, as an update carries them."""
    (one,) = (one for one in plans() if one.digest == plan)
    return Update(one.plan.encode(), [artifact.encode() for artifact in one.models]).encode()


@cache
def pipelines() -> dict[str, Pipeline]:
    """By plan digest. They hold no state, so that all workers of all seeds share them."""
    parameters, sessions = Parameters(), Sessions()
    parameters.publish(*plans())
    lookup = DefinitionsLookup(parameters.read(Definitions()), NAMESPACE)
    return {one.digest: Pipeline(one.plan, lookup, sessions) for one in plans()}


@cache
def answering(plan: str, schema: str, device: str) -> frozenset[tuple[str, str]]:
    """The (role, model) that answer for a device's reading, as the plan's text says: those of the first route that matches."""
    (one,) = (one for one in plans() if one.digest == plan)
    for way in one.plan.routes:
        if way.type in ("", schema) and fnmatchcase(device, way.devices):
            return frozenset((role, pin.name) for role, pin in way.roles())
    return frozenset()
