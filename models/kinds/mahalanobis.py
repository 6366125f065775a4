"""Mahalanobis distance: how far a row lies from the mean, measured by how the features vary together."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.blocks import in_blocks
from swapstream.models.errors import InvalidArtifact
from swapstream.models.kinds.base import Fitted, Kind, Training, no_graph, parameter, vector
from swapstream.models.kinds.settings import STANDARDISE, check_settings, choice, number, scaling

ESTIMATORS = ("empirical", "ledoit-wolf", "oas")


class Mahalanobis(Kind):
    """score(x) = z' P z with z = (x - mean) / scale, P the inverse of the covariance of z: the squared distance.

    It is `EmpiricalCovariance().fit(z).mahalanobis(z)` of scikit-learn, or that of ShrunkCovariance, LedoitWolf and OAS. A
    feature that is constant in training has variance 1 and no covariance, so that a change of it is seen; directions in
    which the features never vary are otherwise left out, as there.
    Source: Mahalanobis, On the Generalised Distance in Statistics (1936).
    """

    NAME = "mahalanobis"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "covariance": "empirical, ledoit-wolf or oas: the latter two choose how much to shrink by themselves [empirical]",
        "shrinkage": "or: pull the covariance this far, 0 to 1, towards features that vary independently and alike",
        "standardise": STANDARDISE,
    }

    def fit(self, training: Training) -> Fitted:
        check_settings(self, training.settings)
        mean, scale = scaling(self, training)
        scaled = (training.rows - mean) / scale
        estimated = self._estimator(training).fit(scaled)
        precision = np.ascontiguousarray(estimated.precision_, dtype=np.float64)
        constant = np.flatnonzero(np.ptp(training.rows, axis=0) == 0)
        precision[constant, :] = precision[:, constant] = 0.0
        precision[constant, constant] = 1.0
        symmetric = (precision + precision.T) / 2.0
        return Fitted({"mean": mean + estimated.location_ * scale, "scale": scale, "precision": symmetric})

    def _estimator(self, training: Training) -> Any:
        from sklearn import covariance

        settings = training.settings
        kind = choice(self, settings, "covariance", ESTIMATORS)
        if "shrinkage" in settings:
            return covariance.ShrunkCovariance(shrinkage=number(self, settings, "shrinkage", 0.0, 0.0, 1.0))
        names = {"empirical": "EmpiricalCovariance", "ledoit-wolf": "LedoitWolf", "oas": "OAS"}
        return getattr(covariance, names[kind])()

    def scorer(self, artifact: Artifact) -> MahalanobisScorer:
        no_graph(artifact, "mean", "scale", "precision")
        width = len(artifact.manifest.features)
        precision = np.ascontiguousarray(parameter(artifact, "precision", (width, width)))
        if not np.array_equal(precision, precision.T):
            raise InvalidArtifact(f"{artifact.ref}: parameter 'precision' must be symmetric")
        return MahalanobisScorer(vector(artifact, "mean"), vector(artifact, "scale", positive=True), precision)


class MahalanobisScorer(msgspec.Struct, frozen=True):
    """A matrix product in blocks of 64 rows: see models/blocks.py."""

    mean: Float64
    scale: Float64
    precision: Float64

    def score(self, rows: Float64) -> Float64:
        return in_blocks(rows, self._blocks)

    def _blocks(self, rows: Float64) -> Float64:
        scaled = (rows - self.mean) / self.scale
        scores: Float64 = ((scaled @ self.precision) * scaled).sum(axis=2)
        return scores


KIND = Mahalanobis()
