"""The contract of model kinds, over every kind that is found."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import OAS, LedoitWolf, ShrunkCovariance
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from swapstream.models import train
from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact, InvalidSettings, UnknownName
from swapstream.models.gate import check
from swapstream.models.kinds import KINDS, kind_of, scorer
from tests.unit.models.examples import LINEAGE, NAMES, example, make, sample, truth


def test_kinds_are_found() -> None:
    assert {"onnx", "pca", "zscore"} <= set(KINDS)


def test_an_unknown_kind_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"'svd' does not exist; there are: .*pca"):
        kind_of("svd")


def test_scores_survive_encoding_bit_for_bit(artifact: Artifact) -> None:
    again = Artifact.decode(artifact.encode())
    rows = sample(1000, seed=3)
    assert scorer(again).score(rows).tobytes() == scorer(artifact).score(rows).tobytes()


def test_the_same_training_gives_the_same_bytes(artifact: Artifact) -> None:
    assert make(artifact.manifest.kind).encode() == artifact.encode()


def test_scores_have_a_row_each_even_for_none(artifact: Artifact) -> None:
    loaded = check(artifact, NAMES)
    for count in (0, 1, 63, 64, 65, 1500):
        scores = loaded.score(sample(count, seed=1))
        assert scores.shape == (count,)
        assert scores.dtype == np.float64


def test_every_kind_here_is_bitwise(artifact: Artifact) -> None:
    assert artifact.manifest.bitwise


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_a_bad_row_spoils_only_its_own_score(artifact: Artifact, bad: float) -> None:
    loaded, rows = scorer(artifact), sample(200, seed=4)
    clean = loaded.score(rows)
    rows[70] = bad
    spoiled = loaded.score(rows)
    assert np.flatnonzero(spoiled.view(np.int64) != clean.view(np.int64)).tolist() == [70]


def test_rows_need_not_be_contiguous(artifact: Artifact) -> None:
    rows = sample(100)
    assert scorer(artifact).score(np.asfortranarray(rows)).tobytes() == scorer(artifact).score(rows).tobytes()


def test_workers_need_no_scikit_learn() -> None:
    script = (
        "import sys; from swapstream.models.gate import check; from swapstream.models import Artifact, Store;"
        "assert not {'sklearn', 'skl2onnx', 'onnx', 'onnxruntime', 'pandas'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("settings", "estimator"),
    [
        ({"covariance": "ledoit-wolf"}, LedoitWolf()),
        ({"covariance": "oas"}, OAS()),
        ({"shrinkage": 0.3}, ShrunkCovariance(shrinkage=0.3)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("standardise", [0, 1])
def test_covariances_are_scikit_learns(settings: dict[str, Any], estimator: Any, standardise: int) -> None:
    rows, fresh = sample()[:, :4], sample(200, seed=9)[:, :4]
    found = train("mahalanobis", rows, name="demo", settings={**settings, "standardise": standardise}, lineage=LINEAGE)
    scaler = StandardScaler(with_mean=bool(standardise), with_std=bool(standardise)).fit(rows)
    wanted = estimator.fit(scaler.transform(rows)).mahalanobis(scaler.transform(fresh))
    np.testing.assert_allclose(scorer(found).score(fresh), wanted, rtol=1e-9)


def test_a_constant_feature_that_moves_is_far_away() -> None:
    row = sample().mean(axis=0)
    row[4] += 3.0
    assert scorer(example("mahalanobis")).score(row[None])[0] == pytest.approx(9.0)


@pytest.mark.parametrize("alpha", [0, 2.5])
@pytest.mark.parametrize("target", ["a", "c", "d"])
def test_regressions_are_scikit_learns(alpha: float, target: str) -> None:
    rows, fresh, names = sample()[:, :4], sample(200, seed=9)[:, :4], NAMES[:4]
    settings = {"target": target, "alpha": alpha}
    place, others = names.index(target), [index for index, name in enumerate(names) if name != target]
    found = train("linear", rows, names, name="demo", settings=settings, lineage=LINEAGE)
    model = (Ridge(alpha=alpha) if alpha else LinearRegression()).fit(rows[:, others], rows[:, place])
    deviation = np.std(rows[:, place] - model.predict(rows[:, others]))
    wanted = np.abs(fresh[:, place] - model.predict(fresh[:, others])) / deviation
    np.testing.assert_allclose(scorer(found).score(fresh), wanted, rtol=1e-9, atol=1e-9)


def test_a_feature_that_follows_exactly_from_the_others_has_no_anomalies_of_rounding() -> None:
    rows = sample()[:, :3]
    rows[:, 0] = 2.0 * rows[:, 1] - rows[:, 2]
    found = train("linear", rows, name="demo", lineage=LINEAGE)
    assert scorer(found).score(rows).max() < 0.01
    rows[0, 0] += 1.0
    assert scorer(found).score(rows[:1])[0] > 1e6


@pytest.mark.parametrize("settings", [{"standardise": 0}, {"C": 0.01}, {"balanced": 1}], ids=str)
def test_probabilities_are_scikit_learns(settings: dict[str, Any]) -> None:
    rows, fresh = sample()[:, :4], sample(200, seed=9)[:, :4]
    labels = truth(sample())
    found = train("logistic", rows, name="demo", labels=labels, settings=settings, lineage=LINEAGE)
    weight = "balanced" if settings.get("balanced") else None
    model = LogisticRegression(C=settings.get("C", 1.0), class_weight=weight, max_iter=1000)
    if settings.get("standardise", 1):
        model = make_pipeline(StandardScaler(), model)
    np.testing.assert_allclose(
        scorer(found).score(fresh), model.fit(rows, labels).predict_proba(fresh)[:, 1], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("hidden", [3, "3-2-3"])
def test_networks_are_scikit_learns(activation: str, hidden: int | str) -> None:
    rows, fresh = sample()[:, :4], sample(200, seed=9)[:, :4]
    settings = {"activation": activation, "hidden": hidden, "epochs": 3}
    found = train("autoencoder", rows, name="demo", seed=5, settings=settings, lineage=LINEAGE)
    scaler = StandardScaler().fit(rows)
    layers = tuple(map(int, str(hidden).split("-")))
    model = MLPRegressor(hidden_layer_sizes=layers, activation=activation, max_iter=3, random_state=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(scaler.transform(rows), scaler.transform(rows))
    scaled = scaler.transform(fresh)
    wanted = np.square(model.predict(scaled) - scaled).mean(axis=1)
    np.testing.assert_allclose(scorer(found).score(fresh), wanted, rtol=1e-9)


@pytest.mark.parametrize("components", [1, 2, 3])
def test_pca_is_scikit_learns(components: int) -> None:
    artifact = train("pca", sample(), name="demo", settings={"components": components}, lineage=LINEAGE)
    scaler = StandardScaler().fit(sample())
    pca = PCA(components).fit(scaler.transform(sample()))
    scaled = scaler.transform(sample(400, seed=9))
    wanted = np.square(pca.inverse_transform(pca.transform(scaled)) - scaled).mean(axis=1)
    np.testing.assert_allclose(scorer(artifact).score(sample(400, seed=9)), wanted, rtol=1e-9, atol=1e-12)


def test_pca_is_the_singular_value_decomposition() -> None:
    rows = sample()[:, :4]
    artifact = train("pca", rows, name="demo", settings={"components": 2}, lineage=LINEAGE)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    _, _, directions = np.linalg.svd(scaled, full_matrices=False)
    wanted = np.square(scaled - scaled @ directions[:2].T @ directions[:2]).mean(axis=1)
    np.testing.assert_allclose(scorer(artifact).score(rows), wanted, rtol=1e-9)


def test_zscore_is_scikit_learns_and_numpys() -> None:
    artifact, rows = make("zscore"), sample(400, seed=9)
    wanted = np.abs(StandardScaler().fit(sample()).transform(rows)).max(axis=1)
    np.testing.assert_allclose(scorer(artifact).score(rows), wanted, rtol=1e-9)
    by_hand = np.abs((rows - sample().mean(axis=0)) / sample().std(axis=0).clip(1e-300))[:, :4].max(axis=1)
    np.testing.assert_allclose(scorer(artifact).score(rows), by_hand, rtol=1e-9)


def test_a_constant_feature_is_measured_in_its_own_units() -> None:
    row = sample().mean(axis=0)
    row[4] += 3.0
    assert scorer(make("zscore")).score(row[None])[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("kind", "options", "line"),
    [
        ("pca", {"components": 0}, "pca: components is 0; allowed: 1 to 3, as the training rows vary in 4 directions"),
        ("pca", {"components": 4}, "pca: components is 4; allowed: 1 to 3"),
        ("pca", {"components": 2.5}, "pca: components is 2.5; allowed"),
        ("pca", {"variance": 1.5}, "pca: variance is 1.5; allowed: between 0 and 1"),
        ("pca", {"components": 2, "variance": 0.5}, "components and variance are given; allowed: one"),
        ("pca", {"parts": 2}, "pca: unknown setting 'parts'; allowed: components, variance"),
        ("zscore", {"parts": 2}, "zscore: unknown setting 'parts'; allowed: none"),
        ("onnx", {}, "onnx models are trained elsewhere"),
        ("mahalanobis", {"covariance": "robust"}, "covariance is 'robust'; allowed: empirical, ledoit-wolf, oas"),
        ("mahalanobis", {"shrinkage": 1.5}, "mahalanobis: shrinkage is 1.5; allowed: 0 to 1"),
        ("mahalanobis", {"standardise": "no"}, "standardise is 'no'; allowed: whole numbers from 0 to 1"),
        ("linear", {"target": "y"}, "linear: target is 'y'; allowed: x0, x1, x2, x3, x4"),
        ("linear", {"alpha": -1}, "linear: alpha is -1; allowed: 0 to 1e"),
        ("isolation_forest", {"trees": 0}, "isolation_forest: trees is 0; allowed: whole numbers from 1 to 1000"),
        ("isolation_forest", {"features": 0}, "isolation_forest: features is 0; allowed: 1e-06 to 1"),
        ("autoencoder", {"hidden": "8-x"}, "autoencoder: hidden is '8-x'; allowed: units as in 16-4-16"),
        ("autoencoder", {"hidden": 0}, "autoencoder: hidden is 0; allowed: units"),
        ("autoencoder", {"activation": "swish"}, "activation is 'swish'; allowed: relu, tanh, logistic, identity"),
        ("autoencoder", {"epochs": 2.5}, "epochs is 2.5; allowed: whole numbers"),
    ],
)
def test_settings_are_refused_by_name(kind: str, options: dict[str, float], line: str) -> None:
    with pytest.raises(InvalidSettings, match=line):
        train(kind, sample(), name="demo", settings=options, lineage=LINEAGE)


def test_a_regression_needs_two_features() -> None:
    with pytest.raises(InvalidSettings, match="linear: one feature; needs at least 2"):
        train("linear", sample()[:, :1], name="demo", lineage=LINEAGE)


@pytest.mark.parametrize(("rows", "directions"), [(sample()[:, :1], 1), (sample()[:, [0, 4]], 1), (np.ones((9, 3)), 0)])
def test_pca_needs_rows_that_vary_in_two_directions(rows: Float64, directions: int) -> None:
    with pytest.raises(InvalidSettings, match=f"vary in {directions} directions leave nothing to score"):
        train("pca", rows, name="demo", lineage=LINEAGE)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_variance_means_what_it_does_in_scikit_learn(share: float) -> None:
    rows = sample()[:, :4]
    artifact = train("pca", rows, name="demo", settings={"variance": share}, lineage=LINEAGE)
    wanted = PCA(share, svd_solver="full").fit(StandardScaler().fit_transform(rows)).n_components_
    assert artifact.parameters["components"].shape == (min(wanted, 3), 4)


def test_variance_never_takes_all_components() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 3))
    artifact = train("pca", rows, name="demo", settings={"variance": 0.9999}, lineage=LINEAGE)
    assert artifact.parameters["components"].shape == (2, 3)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (np.zeros((1, 3)), r"shape \(1, 3\)"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "training row 1, column 1 is nan"),
        ([["a", "b"], ["c", "d"]], "not numbers"),
    ],
)
def test_training_rows_are_checked(rows: Float64, line: str) -> None:
    with pytest.raises(InvalidSettings, match=line):
        train("zscore", rows, name="demo", lineage=LINEAGE)


def test_names_must_fit_the_columns() -> None:
    with pytest.raises(InvalidArtifact, match="2 feature names for 5 columns"):
        train("zscore", sample(), ["a", "b"], name="demo", lineage=LINEAGE)
