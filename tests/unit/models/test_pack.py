"""Estimators as artifacts: the same scores as scikit-learn's own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDOneClassSVM
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from swapstream.models import pack
from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact
from swapstream.models.gate import check
from tests.unit.models.examples import LINEAGE, sample

ROWS = sample()[:, :4]
FRESH = sample(700, seed=5)[:, :4] * 1.5

DETECTORS = [
    IsolationForest(n_estimators=30, random_state=0),
    IsolationForest(n_estimators=30, max_features=0.5, contamination=0.02, bootstrap=True, random_state=0),
    make_pipeline(StandardScaler(), IsolationForest(n_estimators=30, random_state=0)),
    make_pipeline(MinMaxScaler(), PCA(3), IsolationForest(n_estimators=30, random_state=0)),
    OneClassSVM(),
    OneClassSVM(kernel="poly", coef0=1.0),
    OneClassSVM(kernel="linear"),
    make_pipeline(StandardScaler(), OneClassSVM(kernel="sigmoid", coef0=0.1)),
    make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)),
    make_pipeline(StandardScaler(), LocalOutlierFactor(n_neighbors=5, novelty=True)),
    make_pipeline(StandardScaler(), SGDOneClassSVM(random_state=0)),
    EllipticEnvelope(random_state=0),
]


def fitted(model: Any, *target: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(ROWS, *target)


def packed(model: Any, **options: Any) -> Artifact:
    return pack(model, ROWS, name="demo", lineage=LINEAGE, **options)


def title(model: Any) -> str:
    return "-".join(type(step).__name__ for _, step in getattr(model, "steps", [("", model)]))


@pytest.mark.parametrize("model", DETECTORS, ids=title)
def test_outlier_detectors(model: Any) -> None:
    artifact = packed(fitted(model))
    scores = check(Artifact.decode(artifact.encode())).score(FRESH)
    np.testing.assert_allclose(scores, -model.decision_function(FRESH), rtol=1e-7, atol=1e-10)
    assert (artifact.manifest.kind, artifact.manifest.score, artifact.manifest.output) == ("onnx", "-output", "scores")
    assert artifact.manifest.bitwise or "LocalOutlierFactor" in title(model)


def test_thresholds_of_a_tree_are_compared_as_scikit_learn_does() -> None:
    """Trees see float32: rows that differ from a threshold by less than a float32 step must fall on the same side."""
    model = IsolationForest(n_estimators=20, random_state=0).fit(ROWS)
    tree = model.estimators_[0].tree_
    rows = np.repeat(ROWS[:1], tree.node_count, axis=0)
    inner = tree.children_left >= 0
    rows[np.flatnonzero(inner), tree.feature[inner]] = np.nextafter(tree.threshold[inner], np.inf)
    np.testing.assert_allclose(check(packed(model)).score(rows), -model.decision_function(rows), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [False, True])
def test_mixtures_score_by_likelihood(scale: bool) -> None:
    mixture = GaussianMixture(2, random_state=0)
    model = fitted(make_pipeline(StandardScaler(), mixture) if scale else mixture)
    np.testing.assert_allclose(check(packed(model)).score(FRESH), -model.score_samples(FRESH), rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_regressors_that_rebuild_their_input(activation: str) -> None:
    network = MLPRegressor(hidden_layer_sizes=(3, 2), activation=activation, max_iter=20, random_state=0)
    model = fitted(make_pipeline(StandardScaler(), network), ROWS)
    artifact = packed(model, score="reconstruction_error")
    wanted = np.square(model.predict(FRESH) - FRESH).mean(axis=1)
    np.testing.assert_allclose(check(artifact).score(FRESH), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "target", "line"),
    [
        (LinearRegression(), ROWS[:, 0], "LinearRegression does not score anomalies; supported are outlier detectors"),
        (RandomForestRegressor(3), ROWS[:, 0], "RandomForestRegressor does not score anomalies"),
        (LogisticRegression(), ROWS[:, 0] > 0, "LogisticRegression does not score anomalies"),
        (PCA(2), None, "PCA does not score anomalies"),
        (make_pipeline(StandardScaler(), PCA(2)), None, "Pipeline of PCA does not score anomalies"),
        (LocalOutlierFactor(), None, "LocalOutlierFactor has no decision_function for new rows; fit it with novelty=True"),
    ],
    ids=lambda value: title(value) if hasattr(value, "fit") else "",
)
def test_estimators_that_score_nothing_are_refused(model: Any, target: Any, line: str) -> None:
    with pytest.raises(InvalidArtifact, match=line) as caught:
        packed(fitted(model, target))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [17, "", None, object()])
def test_other_things_are_refused(model: Any) -> None:
    with pytest.raises(InvalidArtifact, match=r"^[^\n]+$"):
        packed(model)


def test_an_estimator_that_was_not_fitted() -> None:
    with pytest.raises(InvalidArtifact, match=r"IsolationForest can't score the sample: .*not fitted"):
        packed(IsolationForest())


def test_an_estimator_of_other_features() -> None:
    with pytest.raises(InvalidArtifact, match=r"IsolationForest can't score the sample: .*3 features"):
        packed(IsolationForest(n_estimators=3).fit(ROWS[:, :3]))


def test_the_score_of_an_estimator_is_known() -> None:
    with pytest.raises(InvalidArtifact, match="IsolationForest: score is 'output'; leave it out"):
        packed(IsolationForest(n_estimators=3, random_state=0).fit(ROWS), score="output")


class Stubborn(IsolationForest):  # type: ignore[misc]
    """An estimator that nobody converts."""


def test_what_skl2onnx_can_not_convert_is_one_line() -> None:
    with pytest.raises(InvalidArtifact, match=r"^Stubborn can't become an ONNX graph: [^\n]*$"):
        packed(Stubborn(n_estimators=3).fit(ROWS))


def test_a_graph_of_skl2onnx_is_recognised(rows: Float64) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType

    model = fitted(make_pipeline(StandardScaler(), SGDOneClassSVM(random_state=0)))
    graph = to_onnx(model, initial_types=[("x", DoubleTensorType([None, 4]))]).SerializeToString()
    artifact = packed(graph)
    assert artifact.manifest.score == "-output"
    np.testing.assert_allclose(check(artifact).score(FRESH), -model.decision_function(FRESH), rtol=1e-9)


def test_a_threshold_of_ones_own() -> None:
    artifact = packed(IsolationForest(n_estimators=3, random_state=0).fit(ROWS), threshold=0.25)
    assert (artifact.manifest.threshold, artifact.manifest.alarm_rate) == (0.25, None)
