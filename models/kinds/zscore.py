"""z-score: how many standard deviations the most unusual feature lies from its mean."""

from __future__ import annotations

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.kinds.base import Fitted, Kind, Training, no_graph, vector
from swapstream.models.kinds.settings import check_settings
from swapstream.models.statistics import moments


class ZScore(Kind):
    """score(x) = max_j |x_j - mean_j| / deviation_j, mean and (population) standard deviation over the training rows.

    The same as `numpy.abs(StandardScaler().fit(train).transform(x)).max(axis=1)`; like there, a feature that is
    constant in training has deviation 1, so that it is measured in its own units.
    Source: the three-sigma rule, Shewhart, Economic Control of Quality of Manufactured Product (1931).
    """

    NAME = "zscore"

    def fit(self, training: Training) -> Fitted:
        check_settings(self, training.settings)
        mean, deviation = moments(training.rows)
        return Fitted({"mean": mean, "deviation": deviation})

    def scorer(self, artifact: Artifact) -> ZScoreScorer:
        no_graph(artifact, "mean", "deviation")
        return ZScoreScorer(vector(artifact, "mean"), vector(artifact, "deviation", positive=True))


class ZScoreScorer(msgspec.Struct, frozen=True):
    """Elementwise and a maximum: no sum that could round differently, so no blocks either."""

    mean: Float64
    deviation: Float64

    def score(self, rows: Float64) -> Float64:
        with np.errstate(all="ignore"):
            scores: Float64 = (np.abs(rows - self.mean) / self.deviation).max(axis=1)
        return scores


KIND = ZScore()
