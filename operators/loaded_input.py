"""What a plan does with the readings of one schema: extract, score, decide."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec
import numpy as np

from swapstream.models.errors import InvalidPlan
from swapstream.models.schema import Schema
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.contract import trial
from swapstream.operators.extractors.definition import own_pins
from swapstream.operators.frame import Frame, Int64
from swapstream.operators.loaded_model import FeatureSet, LoadedModel
from swapstream.operators.loaded_route import LoadedRoute, patterns
from swapstream.operators.lookup import Lookup
from swapstream.operators.patterns import NONE, patterns_of
from swapstream.operators.plan import Input, Plan
from swapstream.operators.retention import Retention
from swapstream.operators.scored import DECIDING, NO_ROWS, RoleScores, Scored
from swapstream.operators.scores import Archive
from swapstream.operators.sessions import Sessions


class LoadedInput:
    """Holds no state of any shard: `process` is given its device table."""

    def __init__(self, plan: Plan, part: Input, lookup: Lookup, sessions: Sessions) -> None:
        self.schema = lookup.schema(part.schema)
        if self.schema.name != part.schema.name:
            raise InvalidPlan(f"plan {plan.name!r}: schema {part.schema} calls itself {self.schema.name!r}")
        self.extractor = extractor_of(msgspec.msgpack.encode(part.extractor), self.schema.names, plan.devices)
        if own_pins(self.extractor) != part.own:
            raise InvalidPlan(f"plan {plan.name!r}: the code of extractor {self.extractor.name!r} is not what is defined")
        taken = [route for route in plan.routes if route.type in ("", self.schema.name)]
        last = next((i for i, route in enumerate(taken) if route.takes_all), len(taken))
        reached = taken[: last + 1]
        names = self.extractor.features
        features = FeatureSet(names, hashlib.sha256("\0".join(names).encode()).hexdigest())
        self.routes = [LoadedRoute(route, features, lookup, sessions) for route in reached]
        self.archive = archive_of(self.extractor, self.schema)
        self._one_for_all = last == 0 and len(taken) > 0
        self.route_of = patterns_of(patterns(reached, plan.tags)).first

    def new_table(self) -> DeviceTable:
        """An empty table of per-device state for this input's extractor."""
        return self.extractor.table()

    def process(self, frame: Frame, table: DeviceTable) -> Scored:
        """Extract and score a frame; updates `table`. Bits do not depend on how records were cut into frames (C6)."""
        features, warming = self.extractor.extract(frame, table)
        anomalous = np.zeros(len(frame), dtype=bool)
        roles: list[RoleScores] = []
        decoy = [NO_ROWS]
        for index, rows in self._rows_by_route(frame):
            if self.routes[index].decoy:
                decoy.append(rows)
            for scored in self.routes[index].score(features, rows):
                roles.append(scored)
                if scored.role in DECIDING:
                    anomalous[scored.rows] = (scored.scores > scored.threshold) & ~warming[scored.rows]
        return Scored(frame, features, warming, roles, anomalous, np.concatenate(decoy))

    def model_of(self, device: str, role: str = "champion") -> LoadedModel | None:
        """The model that answers in a role for a device."""
        index = self.route_of(device)
        return None if index == NONE else self.routes[index].in_role(role)

    def _rows_by_route(self, frame: Frame) -> list[tuple[int, Int64]]:
        """The rows of each route that has some, in the routes' order."""
        if self._one_for_all:
            return [(0, np.arange(len(frame)))]
        names, codes = frame.by_device()
        taken = np.fromiter(map(self.route_of, names), np.int64, len(names))[codes]
        order = np.argsort(taken, kind="stable")
        routes, starts = np.unique(taken[order], return_index=True)
        groups = zip(routes.tolist(), np.split(order, starts[1:]), strict=True)
        return [(index, rows) for index, rows in groups if index != NONE]


def archive_of(extractor: Composite, schema: Schema) -> Archive:
    """All features but those of the schema's private fields."""
    private = [field.name for field in schema.fields if field.private]
    if not private:
        return Archive(extractor.features, slice(None))
    places = extractor.open_to(private)
    return Archive(tuple(extractor.features[place] for place in places), places)


@lru_cache(64)
def extractor_of(spec: bytes, fields: tuple[str, ...], retention: Retention) -> Composite:
    """The same for the same settings: plans that change models only share it. Raises InvalidPlan, Unavailable."""
    composite = Composite.parse(msgspec.msgpack.decode(spec), fields, retention)
    if composite.code:
        trial(composite)
    return composite
