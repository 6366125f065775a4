"""Linear regression: how far one feature lies from what the others say of it."""

from __future__ import annotations

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.blocks import in_blocks
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.kinds.base import Fitted, Kind, Training, no_graph, parameter, word
from swapstream.models.kinds.settings import check_settings, choice, number

NEGLIGIBLE = 1e-10  # of the target's own deviation: a residual below it has few correct digits


class Linear(Kind):
    """score(x) = |x_t - (coefficients . x_others + intercept)| / deviation, t the target feature.

    The regression is scikit-learn's LinearRegression, or with `alpha` its Ridge; the deviation is that of the training
    rows' residuals (1 where the target is constant; at least NEGLIGIBLE of the target's own, where the others give it exactly).
    """

    NAME = "linear"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "target": "the feature that the others explain [the first]",
        "alpha": "strength of the ridge penalty; 0 is ordinary least squares [0]",
    }

    def fit(self, training: Training) -> Fitted:
        from sklearn.linear_model import LinearRegression, Ridge

        check_settings(self, training.settings)
        rows, names = training.rows, training.features
        if len(names) < 2:
            raise InvalidSettings("linear: one feature; needs at least 2, one to explain by the others")
        target = names.index(choice(self, training.settings, "target", names))
        alpha = number(self, training.settings, "alpha", 0.0, 0.0, 1e12)
        others = np.delete(rows, target, axis=1)
        model = (Ridge(alpha=alpha) if alpha else LinearRegression()).fit(others, rows[:, target])
        deviation = float((rows[:, target] - model.predict(others)).std())
        least = NEGLIGIBLE * float(rows[:, target].std())
        return Fitted(
            {
                "coefficients": np.ascontiguousarray(model.coef_, dtype=np.float64),
                "intercept": np.array([model.intercept_], dtype=np.float64),
                "deviation": np.array([max(deviation, least) or 1.0]),
            },
            {"target": names[target]},
        )

    def scorer(self, artifact: Artifact) -> LinearScorer:
        no_graph(artifact, "coefficients", "intercept", "deviation")
        names, target = artifact.manifest.features, word(artifact, "target")
        if target not in names:
            raise InvalidArtifact(f"{artifact.ref}: target {target!r} is no feature; allowed: {', '.join(names)}")
        place = names.index(target)
        # One more product, with the target's own column, saves a copy of the rows without it.
        weights = np.insert(-parameter(artifact, "coefficients", (len(names) - 1,)), place, 0.0)
        return LinearScorer(
            weights,
            place,
            float(parameter(artifact, "intercept", (1,))[0]),
            float(parameter(artifact, "deviation", (1,), positive=True)[0]),
        )


class LinearScorer(msgspec.Struct, frozen=True):
    """Sums along a row, in blocks of 64 rows: see models/blocks.py. `weights`: the negative coefficients, 0 at `target`."""

    weights: Float64
    target: int
    intercept: float
    deviation: float

    def score(self, rows: Float64) -> Float64:
        return in_blocks(rows, self._blocks)

    def _blocks(self, rows: Float64) -> Float64:
        others = (rows * self.weights).sum(axis=2)
        scores: Float64 = np.abs(rows[:, :, self.target] + others - self.intercept) / self.deviation
        return scores


KIND = Linear()
