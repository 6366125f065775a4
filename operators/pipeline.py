"""A plan made ready to run: decode, extract, score. The shard, `try` and the trainer all run this very code."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Protocol

import msgspec
import numpy as np

from swapstream.models.artifact import Artifact
from swapstream.models.contributions import contributions
from swapstream.models.errors import InvalidPlan, SwapstreamError, UnknownName
from swapstream.models.gate import check
from swapstream.models.kinds import Scorer
from swapstream.models.schema import Schema
from swapstream.operators.decode import Decoders
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.plan import EVERY_DEVICE, Input, Pin, Plan, Route, check_schemas

NO_ROUTE = -1
DEVICES_REMEMBERED = 100_000
MAX_REASON = 200


class Lookup(Protocol):
    """Where pinned parts come from. Both raise UnknownName, or InvalidDefinition when the bytes are no good."""

    def schema(self, pin: Pin) -> Schema: ...

    def model(self, pin: Pin) -> Artifact: ...


class RoleScores(msgspec.Struct, frozen=True):
    """What one model said of the rows of its route: `rows` int64[m] into the frame, `scores` float64[m], NaN where it failed.

    `errors` maps the places (0 to m-1) of rows on which the model failed to the reason.
    """

    role: str
    model: Pin
    rows: Int64
    scores: Float64
    threshold: float
    errors: dict[int, str] = {}


class Scored(msgspec.Struct, frozen=True):
    """A frame with its features [n, K], who is warming up, every role's scores, and the champion's verdict."""

    frame: Frame
    features: Float64
    warming: Bool
    roles: list[RoleScores]
    anomalous: Bool


class LoadedModel:
    """A model of a route, ready to score; one that the gate refuses answers every record with the reason.

    The gate's time budget is not asked here: what answers a record must not depend on how busy a worker is.
    """

    def __init__(self, role: str, pin: Pin, threshold: float | None, lookup: Lookup, features: tuple[str, ...]) -> None:
        self.role, self.pin = role, pin
        self.scorer: Scorer | None = None
        self.error: str | None = None
        try:
            self.artifact = lookup.model(pin)
            self.scorer = check(self.artifact, features, budget=float("inf"))
            self.threshold = self.artifact.manifest.threshold if threshold is None else threshold
        except Exception as error:  # whatever a model's library raises must not stop the job
            self.error, self.threshold = reason(error), float("inf")

    def score(self, features: Float64, rows: Int64) -> RoleScores:
        """Score some rows of a frame. A model that fails on a record harms only that record's row (C5)."""
        scores, errors = np.full(len(rows), np.nan), {}
        if self.error is not None:
            errors = dict.fromkeys(range(len(rows)), self.error)
        else:
            mine = features if len(rows) == len(features) else features[rows]
            self._score(mine, 0, scores, errors)
        return RoleScores(self.role, self.pin, rows, scores, self.threshold, errors)

    def _score(self, features: Float64, start: int, scores: Float64, errors: dict[int, str]) -> None:
        """Fill in scores and errors from `start` on. Where a batch fails its records are tried one by one, so that which
        of them fail does not depend on the frame they came in."""
        assert self.scorer is not None
        try:
            found = self.scorer.score(features)
        except Exception as error:  # whatever a model's library raises must not stop the job
            if len(features) == 1:
                errors[start] = reason(error)
                return
            for place in range(len(features)):
                self._score(features[place : place + 1], start + place, scores, errors)
            return
        finite = np.isfinite(found)
        scores[start : start + len(found)] = np.where(finite, found, np.nan)
        errors.update(dict.fromkeys((start + np.flatnonzero(~finite)).tolist(), "the score is not finite"))

    def contributions(self, features: Float64) -> Float64:
        """How much of each score each of its parts explains (models/contributions.py), float64[k, G]."""
        assert self.scorer is not None
        return contributions(self.scorer, features, self.artifact.manifest)


def reason(error: Exception) -> str:
    """Why a model failed, short enough to stand beside each score."""
    text = str(error) if isinstance(error, SwapstreamError) else f"{type(error).__name__}: {error}"
    return text[:MAX_REASON]


class LoadedRoute:
    """A route's models for the readings of one schema, champion first."""

    def __init__(self, route: Route, lookup: Lookup, features: tuple[str, ...]) -> None:
        self.pattern = route.devices
        self.models = [
            LoadedModel(role, pin, route.threshold if role == "champion" else None, lookup, features)
            for role, pin in route.roles()
        ]

    @property
    def champion(self) -> LoadedModel | None:
        return self.models[0] if self.models else None


class LoadedInput:
    """What a plan does with the readings of one schema."""

    def __init__(self, plan: Plan, part: Input, lookup: Lookup) -> None:
        self.schema = lookup.schema(part.schema)
        if self.schema.name != part.schema.name:
            raise InvalidPlan(f"plan {plan.name!r}: schema {part.schema} calls itself {self.schema.name!r}")
        self.extractor = Composite.parse(list(part.extractor), self.schema.names, plan.devices)
        taken = [route for route in plan.routes if route.type in ("", self.schema.name)]
        last = next((i for i, route in enumerate(taken) if route.devices == EVERY_DEVICE), len(taken))
        self.routes = [LoadedRoute(route, lookup, self.extractor.features) for route in taken[: last + 1]]
        self.route_of = lru_cache(DEVICES_REMEMBERED)(self._match)

    def new_table(self) -> DeviceTable:
        """An empty table of per-device state for this input's extractor."""
        return self.extractor.table()

    def process(self, frame: Frame, table: DeviceTable) -> Scored:
        """Extract and score a frame; updates `table`. Bits do not depend on how records were cut into frames (C6)."""
        features, warming = self.extractor.extract(frame, table)
        anomalous = np.zeros(len(frame), dtype=bool)
        roles: list[RoleScores] = []
        for index, rows in self._rows_by_route(frame):
            for model in self.routes[index].models:
                scored = model.score(features, rows)
                roles.append(scored)
                if model.role == "champion":
                    anomalous[rows] = (scored.scores > scored.threshold) & ~warming[rows]
        return Scored(frame, features, warming, roles, anomalous)

    def champion_of(self, device: str) -> LoadedModel | None:
        """The champion that answers for a device."""
        index = self.route_of(device)
        return None if index == NO_ROUTE else self.routes[index].champion

    def _match(self, device: str) -> int:
        """The first route whose pattern matches, NO_ROUTE if none does."""
        return next((i for i, route in enumerate(self.routes) if fnmatchcase(device, route.pattern)), NO_ROUTE)

    def _rows_by_route(self, frame: Frame) -> list[tuple[int, Int64]]:
        if len(self.routes) == 1 and self.routes[0].pattern == EVERY_DEVICE:
            return [(0, np.arange(len(frame)))]
        names, codes = frame.by_device()
        taken = np.fromiter(map(self.route_of, names), np.int64, len(names))[codes]
        return [(index, np.flatnonzero(taken == index)) for index in np.unique(taken).tolist() if index != NO_ROUTE]


class Pipeline:
    """One plan, ready. Holds no state of any shard: several shards of a worker share it.

    `inputs` by schema's name, in the plan's order, which is that of the frames that `decoders` gives. `columnar`: messages may be
    large.
    """

    def __init__(self, plan: Plan, lookup: Lookup) -> None:
        self.plan = plan
        self.digest = plan.digest
        loaded = [LoadedInput(plan, part, lookup) for part in plan.inputs]
        check_schemas(plan.name, [one.schema for one in loaded])
        self.inputs = {one.schema.name: one for one in loaded}
        self.decoders = Decoders([one.schema for one in loaded])
        self.columnar = any(one.schema.layout == "columnar" for one in loaded)

    def input(self, schema: str | None = None) -> LoadedInput:
        """What is done with one schema; None: with the only one. Raises UnknownName."""
        if schema is None and len(self.inputs) == 1:
            return next(iter(self.inputs.values()))
        if schema not in self.inputs:
            said = "none was chosen" if schema is None else f"{schema!r} is none of them"
            raise UnknownName(f"plan {self.plan.name!r} has schemas {', '.join(self.inputs)}; {said}")
        return self.inputs[schema]
