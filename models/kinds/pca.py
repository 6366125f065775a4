"""PCA: how badly a row is rebuilt from the main directions of the training rows."""

from __future__ import annotations

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.blocks import in_blocks
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.kinds.base import Fitted, Kind, Settings, Training, no_graph, parameter, vector
from swapstream.models.kinds.settings import check_settings

VARIANCE = 0.95
NEGLIGIBLE = 1e-10  # of the largest singular value: a residual below it has few correct digits


class Pca(Kind):
    """score(x) = mean_j (z_j - r_j)^2, where z = (x - mean) / scale and r is z projected on the first k components.

    z is scikit-learn's StandardScaler (a constant feature has scale 1), r its PCA's `inverse_transform(transform(z))`.
    Source: the Q statistic, Jackson and Mudholkar, Control Procedures for Residuals Associated With Principal Component
    Analysis, Technometrics 21 (1979), divided by the number of features.
    """

    NAME = "pca"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "components": "number of components; more rebuild more, so less stands out",
        "variance": f"or: as many components as explain this share of the variance, but never all of it [{VARIANCE}]",
    }

    def fit(self, training: Training) -> Fitted:
        # Imported here: workers load this module to score and must not pay for scikit-learn.
        from sklearn.decomposition import PCA
        from sklearn.preprocessing import StandardScaler

        check_settings(self, training.settings)
        scaler = StandardScaler().fit(training.rows)
        scaled = scaler.transform(training.rows)
        count = _components(training.settings, scaled)
        pca = PCA(n_components=count, random_state=training.seed).fit(scaled)
        return Fitted(
            {
                "mean": np.ascontiguousarray(scaler.mean_, dtype=np.float64),
                "scale": np.ascontiguousarray(scaler.scale_, dtype=np.float64),
                "center": np.ascontiguousarray(pca.mean_, dtype=np.float64),
                "components": np.ascontiguousarray(pca.components_, dtype=np.float64),
            }
        )

    def scorer(self, artifact: Artifact) -> PcaScorer:
        no_graph(artifact, "mean", "scale", "center", "components")
        width = len(artifact.manifest.features)
        components = np.ascontiguousarray(parameter(artifact, "components", (None, width)))
        if len(components) > width:
            raise InvalidArtifact(f"{artifact.ref}: {len(components)} components; allowed: at most {width}, one a feature")
        return PcaScorer(
            vector(artifact, "mean"),
            vector(artifact, "scale", positive=True),
            vector(artifact, "center"),
            components,
            np.ascontiguousarray(components.T),
        )


class PcaScorer(msgspec.Struct, frozen=True):
    """Matrix products in blocks of 64 rows: see models/blocks.py."""

    mean: Float64
    scale: Float64
    center: Float64
    components: Float64
    transposed: Float64

    def score(self, rows: Float64) -> Float64:
        return in_blocks(rows, self._blocks)

    def _blocks(self, rows: Float64) -> Float64:
        centered = (rows - self.mean) / self.scale - self.center
        residual = centered - (centered @ self.transposed) @ self.components
        scores: Float64 = np.square(residual).mean(axis=2)
        return scores


def _components(settings: Settings, scaled: Float64) -> int:
    """How many components: fewer than there are directions in which the rows vary, or the residual would be rounding only."""
    spread: Float64 = np.linalg.svd(scaled - scaled.mean(axis=0), compute_uv=False)
    directions = int(np.count_nonzero(spread > NEGLIGIBLE * spread[0]))
    if directions < 2:
        raise InvalidSettings(
            f"pca: {len(spread)} features that vary in {directions} directions leave nothing to score;"
            " needs at least 2 (or use zscore)"
        )
    if "components" not in settings:
        return min(_explaining(settings.get("variance", VARIANCE), spread), directions - 1)
    if "variance" in settings:
        raise InvalidSettings("pca: components and variance are given; allowed: one of them")
    count = settings["components"]
    if not isinstance(count, int) or not 1 <= count < directions:
        raise InvalidSettings(
            f"pca: components is {count!r}; allowed: 1 to {directions - 1}, as the training rows vary in {directions} directions"
        )
    return count


def _explaining(share: int | float | str, spread: Float64) -> int:
    """The smallest number whose part of the variance is greater than `share`, as in scikit-learn."""
    if not isinstance(share, float) or not 0 < share < 1:
        raise InvalidSettings(f"pca: variance is {share!r}; allowed: between 0 and 1")
    explained = np.cumsum(np.square(spread) / np.square(spread).sum())
    return int(np.searchsorted(explained, share, side="right")) + 1


KIND = Pca()
