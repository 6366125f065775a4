"""Training that keeps going: a new challenger every so often, or when scores have drifted. Champions are left to people."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec
import numpy as np

from swapstream.models.artifact import Artifact
from swapstream.models.drift import stability
from swapstream.models.errors import InvalidDefinition, InvalidSettings, SwapstreamError
from swapstream.models.gate import check
from swapstream.operators.frame import Float64
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.bounds import starts
from swapstream.scripts.change import Order, carry_out
from swapstream.scripts.console import say
from swapstream.scripts.derive import model_name, with_challenger
from swapstream.scripts.environment import Environment
from swapstream.scripts.known import Known, known_of
from swapstream.scripts.publish import author_of
from swapstream.scripts.refusal import on_the_ledger
from swapstream.scripts.submitted import the_deployment

LOOK = 60.0
"""Seconds between looks at the scores."""
WATCHED = 5_000
"""Readings whose scores are looked at, the newest ones."""
ENOUGH = 500
MESSAGES = 64
"""Of each partition of `scores`, to begin with; as many more as it takes."""


class Round(msgspec.Struct, frozen=True):
    """What challengers are made for: versions of the model `name` of a route; `limit` of the population stability index."""

    environment: Environment
    name: str
    deployment: str | None
    namespace: str | None
    route: str | None
    limit: float

    @property
    def whose(self) -> tuple[str, str]:
        """Namespace and deployment. Raises UnknownName."""
        return self.namespace or self.environment.job.namespace, the_deployment(self.environment, self.deployment)

    def known(self) -> Known:
        return known_of(self.environment, *self.whose)


class Watched(NamedTuple):
    """How the scores of a model lie: its population stability index over so many readings."""

    model: Pin
    index: float  # type: ignore[assignment]  # tuple has a method of this name
    readings: int

    def __str__(self) -> str:
        return f"population stability of {self.model.name} is {self.index:.3f} over its last {self.readings:,} scores"


def keep_going(given: Round, made: Callable[[], Artifact], every: int | None, on_drift: bool,
               sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
    """Until it is interrupted. `every`: ms; the first one is made at once, unless it is drift alone that is waited for.

    What goes wrong in the first round is raised; later it is said, and tried again at the next occasion.
    """
    due, first = (clock() if every is not None else None), True
    with suppress(KeyboardInterrupt):
        while True:
            try:
                if (due is not None and clock() >= due) or (on_drift and drifted(given, first)):
                    due = clock() + every / 1_000 if every is not None else None
                    challenge(given, made())
            except SwapstreamError as error:
                if first:
                    raise
                say(f"not this time: {error}")
            first = False
            sleep(LOOK if on_drift or due is None else max(0.0, due - clock()))


def challenge(given: Round, artifact: Artifact) -> None:
    """The plan in force with the model as a challenger, as a swap. Raises SwapstreamError, with nothing changed."""
    namespace, deployment = given.whose
    with on_the_ledger(given.environment, namespace, deployment):
        known = given.known()
        check(artifact)
        plan = known.plan(known.in_force.plan)
        wanted = with_challenger(plan, artifact, known.schemas(plan), given.route)
        parts = known.parts(wanted, artifact)
    author = author_of(given.environment, f"challenger {artifact.ref}, trained anew")
    carry_out(Order(given.environment, namespace, deployment, author, based_on=known.in_force.epoch), wanted, parts, False)


def drifted(given: Round, aloud: bool = False) -> bool:
    """Whether scores lie otherwise than in training: of the newest version of the model that is scored, else of the champion.

    Raises InvalidSettings for a model whose manifest doesn't say how its training scores lay.
    """
    known = given.known()
    watched = look(given, known, watched_model(known.plan(known.in_force.plan), given.name))
    if watched is None or watched.readings < ENOUGH:
        return False
    over = watched.index > given.limit
    if over or aloud:
        say(f"{watched}: {'above' if over else 'within'} {given.limit:g}")
    return over


def watched_model(plan: Plan, name: str) -> Pin:
    """The newest version of a model in a plan, else a champion. Raises InvalidSettings for a plan without any."""
    pins = [pin for route in plan.routes for _, pin in route.roles()]
    ours = [pin for pin in pins if model_name(pin) == name]
    if not pins:
        raise InvalidSettings(f"plan {plan.name!r} has no champion: there are no scores that could drift")
    return max(ours, key=lambda pin: int(pin.name.partition(":")[2])) if ours else pins[0]


def look(given: Round, known: Known, model: Pin) -> Watched | None:
    """The newest scores of a model against those of its training; None where there are none."""
    reference = known.pinned(model).manifest.reference.scores
    if reference is None:
        raise InvalidSettings(f"model {model.name} does not say how its training scores lay (fewer than 100 rows, an earlier release, or "
                              "the numbers of another version): there is nothing to tell drift from")  # fmt: skip
    scores = newest_scores(given.environment, *given.whose, model)
    return Watched(model, stability(reference, scores), len(scores)) if len(scores) else None


def newest_scores(environment: Environment, namespace: str, deployment: str, model: Pin) -> Float64:
    """Of the last WATCHED readings, as far as they are there; without those that are warming, and those on which it failed."""
    topic = environment.topics.scores.name
    count, before = MESSAGES, -1
    while True:
        start = starts(environment, topic, count)
        found: list[tuple[int, Float64]] = []
        for record in kafka.read_to_end(environment, topic, start):
            with suppress(InvalidDefinition):
                frame = decode_scores(record.value or b"")
                if (frame.provenance.namespace, frame.provenance.deployment) == (namespace, deployment):
                    found.append((record.timestamp, scores_of(frame, model)))
        total = sum(len(scores) for _, scores in found)
        if total >= WATCHED or sum(start.values()) == before or count >= WATCHED:
            ordered = [scores for _, scores in sorted(found, key=lambda one: one[0])]
            newest: Float64 = np.concatenate([np.zeros(0), *ordered])[-WATCHED:]
            return newest
        count, before = 4 * count, sum(start.values())


def scores_of(frame: ScoresFrame, model: Pin) -> Float64:
    """A model's scores of a frame's readings, whatever its role."""
    found = [np.zeros(0)]
    for role in frame.roles:
        if (role.model, role.digest) == (model.name, model.digest):
            places = np.frombuffer(role.rows, "<i4") if role.rows else np.arange(len(frame))
            scores = np.frombuffer(role.scores, "<f8")
            found.append(scores[np.isfinite(scores) & ~np.frombuffer(frame.warming, "?")[places]])
    return np.concatenate(found)
