"""Logistic regression: the probability that a row is an anomaly, learnt from labelled ones."""

from __future__ import annotations

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.blocks import in_blocks
from swapstream.models.errors import InvalidSettings
from swapstream.models.kinds.base import Fitted, Kind, Training, no_graph, parameter, vector
from swapstream.models.kinds.settings import STANDARDISE, check_settings, integer, number, scaling

ITERATIONS = 1000


class Logistic(Kind):
    """score(x) = 1 / (1 + exp(-(coefficients . z + intercept))) with z = (x - mean) / scale: a probability, 0 to 1.

    It is `LogisticRegression(C=C).fit(z, labels).predict_proba(z)[:, 1]` of scikit-learn. Needs labels, of both sorts.
    """

    NAME = "logistic"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "C": "inverse strength of the penalty: larger follows the training rows more closely [1]",
        "balanced": "1: the few anomalies weigh as much as the many normal rows; 0: each row alike [0]",
        "standardise": STANDARDISE,
    }
    LABELS = True

    def fit(self, training: Training) -> Fitted:
        from sklearn.linear_model import LogisticRegression

        check_settings(self, training.settings)
        labels = training.labels
        if labels is None or labels.all() or not labels.any():
            found = "none" if labels is None else f"{int(labels.sum())} anomalies in {len(labels)} rows"
            raise InvalidSettings(f"logistic: needs labels of both sorts; found: {found}")
        strength = number(self, training.settings, "C", 1.0, 1e-12, 1e12)
        weight = "balanced" if integer(self, training.settings, "balanced", 0, 0, 1) else None
        mean, scale = scaling(self, training)
        model = LogisticRegression(C=strength, class_weight=weight, max_iter=ITERATIONS)
        model.fit((training.rows - mean) / scale, labels)
        return Fitted(
            {
                "mean": mean,
                "scale": scale,
                "coefficients": np.ascontiguousarray(model.coef_[0], dtype=np.float64),
                "intercept": np.ascontiguousarray(model.intercept_, dtype=np.float64),
            }
        )

    def scorer(self, artifact: Artifact) -> LogisticScorer:
        no_graph(artifact, "mean", "scale", "coefficients", "intercept")
        return LogisticScorer(
            vector(artifact, "mean"),
            vector(artifact, "scale", positive=True),
            vector(artifact, "coefficients"),
            float(parameter(artifact, "intercept", (1,))[0]),
        )


class LogisticScorer(msgspec.Struct, frozen=True):
    """Sums along a row, in blocks of 64 rows: see models/blocks.py."""

    mean: Float64
    scale: Float64
    coefficients: Float64
    intercept: float

    def score(self, rows: Float64) -> Float64:
        return in_blocks(rows, self._blocks)

    def _blocks(self, rows: Float64) -> Float64:
        odds = ((rows - self.mean) / self.scale * self.coefficients).sum(axis=2) + self.intercept
        scores: Float64 = 1.0 / (1.0 + np.exp(-odds))
        return scores


KIND = Logistic()
