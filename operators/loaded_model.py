"""A model of a route: it scores rows, and says why where it can't."""

from __future__ import annotations

from functools import partial

import numpy as np

from swapstream.models.contributions import contributions, parts
from swapstream.models.kinds import Scorer, Telling
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.lookup import Lookup
from swapstream.operators.plan import Pin
from swapstream.operators.scored import RoleScores
from swapstream.operators.sessions import MAX_REASON, Session, Sessions, reason

NOT_FINITE = "the score is not finite"


class FeatureSet:
    """The names of an extractor's features, and what stands for them in a session's key."""

    def __init__(self, names: tuple[str, ...], digest: str) -> None:
        self.names, self.digest = names, digest


class LoadedModel:
    """A model in its role. Its session is loaded again where it had to make room; one that the gate refuses answers every record
    with the reason.
    """

    def __init__(
        self, role: str, pin: Pin, threshold: float | None, features: FeatureSet, lookup: Lookup, sessions: Sessions
    ) -> None:
        self.role, self.pin = role, pin
        self.key = f"{pin.digest} {pin.name} {features.digest}"
        find = partial(lookup.model, pin)
        self.verdict = sessions.verdict(self.key, features.names, find)
        self.threshold = self.verdict.threshold if threshold is None or self.verdict.error else threshold
        self._session = partial(sessions.get, self.key, find)

    @property
    def session(self) -> Session:
        """Raises Unavailable where the model must be fetched again and its store is away: the job then restarts and goes on."""
        return self._session()

    def score(self, features: Float64, rows: Int64) -> RoleScores:
        """Score some rows of a frame. A model that fails on a record harms only that record's row (C5)."""
        scores, errors = np.full(len(rows), np.nan), {}
        if self.verdict.error is not None:
            errors = dict.fromkeys(range(len(rows)), self.verdict.error)
        else:
            mine = features if len(rows) == len(features) else features[rows]
            self._score(self.session.scorer, mine, 0, scores, errors)
        return RoleScores(self.role, self.pin, rows, scores, self.threshold, errors)

    def _score(self, scorer: Scorer, features: Float64, start: int, scores: Float64, errors: dict[int, str]) -> None:
        """Fill in scores and errors from `start` on. Where a batch fails its records are tried one by one, so that which
        of them fail does not depend on the frame they came in."""
        try:
            found = scorer.score(features)
        except Exception as error:  # whatever a model's library raises must not stop the job
            if len(features) == 1:
                errors[start] = reason(error)
                return
            for place in range(len(features)):
                self._score(scorer, features[place : place + 1], start + place, scores, errors)
            return
        finite = np.isfinite(found)
        scores[start : start + len(found)] = np.where(finite, found, np.nan)
        if not finite.all():
            failed = np.flatnonzero(~finite).tolist()
            errors.update({start + place: why(scorer, features[place]) for place in failed})

    def explain(self, features: Float64) -> tuple[tuple[str, ...], Float64]:
        """By what scores are explained, G names, and how much of each score each explains (models/contributions.py), float64[k, G]."""
        session = self.session
        return parts(session.manifest), contributions(session.scorer, features, session.manifest)


def why(scorer: Scorer, row: Float64) -> str:
    """What a model says of a row that it gave no score, asked alone: other rows have no say in it."""
    told = scorer.failure(row) if isinstance(scorer, Telling) else ""
    return told[:MAX_REASON] or NOT_FINITE
