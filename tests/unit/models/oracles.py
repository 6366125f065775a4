"""What scikit-learn, or a plain calculation, says of the examples' models: an oracle for each kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from swapstream.models.arrays import Float64
from tests.unit.models.examples import AUTOENCODER, SETTINGS, graph, truth


def zscore(rows: Float64, fresh: Float64) -> Float64:
    return np.asarray(np.abs(StandardScaler().fit(rows).transform(fresh)).max(axis=1))


def pca(rows: Float64, fresh: Float64) -> Float64:
    scaler = StandardScaler().fit(rows)
    scaled = scaler.transform(fresh)
    count = PCA(0.95, svd_solver="full").fit(scaler.transform(rows)).n_components_
    model = PCA(min(count, 3), svd_solver="full").fit(scaler.transform(rows))  # rows vary in 4 directions
    return np.asarray(np.square(model.inverse_transform(model.transform(scaled)) - scaled).mean(axis=1))


def mahalanobis(rows: Float64, fresh: Float64) -> Float64:
    scaler = StandardScaler().fit(rows)
    return np.asarray(EmpiricalCovariance().fit(scaler.transform(rows)).mahalanobis(scaler.transform(fresh)))


def linear(rows: Float64, fresh: Float64) -> Float64:
    model = LinearRegression().fit(rows[:, 1:], rows[:, 0])
    deviation = np.std(rows[:, 0] - model.predict(rows[:, 1:]))
    return np.asarray(np.abs(fresh[:, 0] - model.predict(fresh[:, 1:])) / deviation)


def logistic(rows: Float64, fresh: Float64) -> Float64:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, truth(rows))
    return np.asarray(model.predict_proba(fresh)[:, 1])


def rules(rows: Float64, fresh: Float64) -> Float64:
    """SETTINGS["rules"] as a person reads them, record by record."""
    return np.array([
        (2.0 if a > 1 or b > 60 else 0.0)
        + (1.0 if d < -12 and (e == 7 or c / a > 3) else 0.0)
        + (1.0 if max(abs(a), abs(d + 4)) > 6 else 0.0)
        for a, b, c, d, e in fresh.tolist()
    ])


def isolation_forest(rows: Float64, fresh: Float64) -> Float64:
    trees = int(SETTINGS["isolation_forest"]["trees"])
    return -np.asarray(IsolationForest(n_estimators=trees, random_state=0).fit(rows).decision_function(fresh))


def autoencoder(rows: Float64, fresh: Float64) -> Float64:
    scaler = StandardScaler().fit(rows)
    network = MLPRegressor(hidden_layer_sizes=(2,), max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.fit(scaler.transform(rows), scaler.transform(rows))
    scaled = scaler.transform(fresh)
    return np.asarray(np.square(network.predict(scaled) - scaled).mean(axis=1))


def onnx(rows: Float64, fresh: Float64) -> Float64:
    return rebuilt(graph(AUTOENCODER), fresh.astype(np.float32))


def rebuilt(model: bytes, given: Any) -> Float64:
    """mean squared difference of a graph's output to its input, by ONNX's own reference implementation."""
    out = reference(model, given)
    return np.asarray(np.square(out.astype(float) - given).reshape(len(given), -1).mean(axis=1))


def reference(model: bytes, given: Any) -> Any:
    """The first output of a graph by ONNX's reference implementation, which is plain numpy."""
    from onnx import load_model_from_string

    loaded = load_model_from_string(model)
    return ReferenceEvaluator(loaded).run(None, {loaded.graph.input[0].name: given})[0]


ORACLES: dict[str, Callable[[Float64, Float64], Float64]] = {
    oracle.__name__: oracle
    for oracle in (zscore, pca, mahalanobis, linear, logistic, rules, isolation_forest, autoencoder, onnx)
}

TOLERANCES = {"onnx": 1e-5}
"""Relative: a graph that reads float32. 1e-9 else."""


def agree(kind: str, found: Float64, wanted: Float64) -> None:
    """Scores must agree relative to their own size, or to that of a typical one where they are near zero."""
    tolerance = TOLERANCES.get(kind, 1e-9)
    typical = float(np.median(np.abs(wanted))) or math.ulp(1.0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * typical)
