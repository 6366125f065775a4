"""Isolation forest: how few random cuts set a row apart."""

from __future__ import annotations

from swapstream.models.kinds.base import Fitted, Training
from swapstream.models.kinds.onnx import Onnx
from swapstream.models.kinds.settings import check_settings, integer, number


class Forest(Onnx):
    """score(x) = -decision_function(x) of scikit-learn's IsolationForest: 2^(-depth / c) - 0.5, from -0.5 to 0.5.

    Stored as an ONNX graph in double precision and scored by ONNX Runtime.
    Source: Liu, Ting and Zhou, Isolation Forest, ICDM 2008.
    """

    NAME = "isolation_forest"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "trees": "number of trees; more are steadier and slower [100]",
        "samples": "rows drawn for each tree, at most all [256]",
        "features": "share of the features drawn for each tree [1]",
    }

    def fit(self, training: Training) -> Fitted:
        from sklearn.ensemble import IsolationForest

        from swapstream.models.convert import graph_of

        check_settings(self, training.settings)
        model = IsolationForest(
            n_estimators=integer(self, training.settings, "trees", 100, 1, 1000),
            max_samples=min(integer(self, training.settings, "samples", 256, 2, 2**20), len(training.rows)),
            max_features=number(self, training.settings, "features", 1.0, 1e-6, 1.0),
            random_state=training.seed,
        ).fit(training.rows)
        converted = graph_of(model, training.rows)
        return Fitted(graph=converted.graph, score=converted.score, output=converted.output)


KIND = Forest()
