"""A route's models over one schema's features, and the devices that take it."""

from __future__ import annotations

import numpy as np

from swapstream.operators.frame import Float64, Int64
from swapstream.operators.loaded_model import FeatureSet, LoadedModel
from swapstream.operators.lookup import Lookup
from swapstream.operators.patterns import Pattern
from swapstream.operators.plan import Route
from swapstream.operators.scored import RoleScores
from swapstream.operators.sessions import Sessions


class LoadedRoute:
    """`models`: champion first. `on_error`: who answers where the champion fails. `decoy`: whether features are archived beside."""

    def __init__(self, route: Route, features: FeatureSet, lookup: Lookup, sessions: Sessions) -> None:
        loaded = [
            LoadedModel(role, pin, route.threshold if role == "champion" else None, features, lookup, sessions)
            for role, pin in route.roles()
        ]
        self.decoy = route.decoy
        self.models = [model for model in loaded if model.role != "on_error"]
        self.on_error = next((model for model in loaded if model.role == "on_error"), None)

    @property
    def champion(self) -> LoadedModel | None:
        return self.models[0] if self.models else None

    def score(self, features: Float64, rows: Int64) -> list[RoleScores]:
        """What each role says of the route's rows of a frame, the champion first, the one that answers for it last."""
        found = [model.score(features, rows) for model in self.models]
        if self.on_error and found[0].errors:
            failed = rows[np.sort(np.fromiter(found[0].errors, np.int64, len(found[0].errors)))]
            found.append(self.on_error.score(features, failed))
        return found

    def in_role(self, role: str) -> LoadedModel | None:
        """The first model in a role."""
        if role == "on_error":
            return self.on_error
        return next((model for model in self.models if model.role == role), None)

    def all_models(self) -> list[LoadedModel]:
        return [*self.models, self.on_error] if self.on_error else self.models


def patterns(routes: list[Route], tags: dict[str, tuple[str, ...]]) -> tuple[Pattern, ...]:
    """What devices must match to take each of the routes, by its place."""
    return tuple(
        Pattern(place, glob, route.devices) if route.tag else Pattern(place, route.devices)
        for place, route in enumerate(routes)
        for glob in (tags[route.tag] if route.tag else (route.devices,))
    )
