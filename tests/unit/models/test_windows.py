"""Graphs and networks over windows [n, T, F], and what their inputs and outputs may be."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from swapstream.models import Artifact, pack, train
from swapstream.models.contributions import contributions, parts
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.gate import check
from swapstream.models.kinds import scorer
from tests.unit.models.examples import LINEAGE, example, graph, sample, truth
from tests.unit.models.graphs import F, T, convolution, dense, recurrent, windows
from tests.unit.models.oracles import rebuilt, reference

FLAT = windows().reshape(-1, T * F)
FRESH = windows(150, seed=5) * 1.3
HEAD = '<ir_version: 8, opset_import: ["": 18]> g '


def packed(model: Any, rows: Any = None, **options: Any) -> Artifact:
    made = pack(model, windows() if rows is None else rows, name="demo", lineage=LINEAGE, **options)
    return Artifact.decode(made.encode())


@pytest.mark.parametrize(
    ("build", "dtype"), [(dense, "float32"), (dense, "float64"), (convolution, "float32")], ids=lambda value: str(value)[:20]
)
@pytest.mark.parametrize("batch", ["n", 1])
def test_reconstructions(build: Any, dtype: str, batch: int | str) -> None:
    artifact = packed(build(dtype, batch), score="reconstruction_error")
    assert (artifact.manifest.shape, artifact.manifest.v) == ((T, F), 3)
    found = check(artifact).score(FRESH.reshape(-1, T * F))
    wanted = np.concatenate([rebuilt(build(dtype, batch), row[None].astype(dtype)) for row in FRESH])
    np.testing.assert_allclose(found, wanted, rtol=1e-9 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("score", ["output", "-output"])
def test_a_recurrent_score(batch: int | str, score: str) -> None:
    artifact = packed(recurrent(batch=batch), score=score)
    wanted = reference(recurrent(), FRESH.astype(np.float32))[:, 0]
    found = check(artifact).score(FRESH.reshape(-1, T * F))
    np.testing.assert_allclose(found, wanted if score == "output" else -wanted, rtol=1e-5, atol=1e-6)


def test_a_class_is_chosen() -> None:
    wanted = reference(recurrent(classes=3), FRESH.astype(np.float32))
    for column in range(3):
        artifact = packed(recurrent(classes=3), column=column)
        assert artifact.manifest.column == column
        np.testing.assert_allclose(check(artifact).score(FRESH.reshape(-1, T * F)), wanted[:, column], rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ((T, F), {}),
        (("t", F), {}),
        ((T, "f"), {}),
        (("t", "f"), {"shape": (T, F)}),
    ],
)
def test_the_window_follows_from_the_graph_or_is_told(given: tuple[Any, ...], options: dict[str, Any]) -> None:
    artifact = packed(convolution(given=given), FLAT, score="reconstruction_error", **options)
    assert artifact.manifest.shape == (T, F)
    assert artifact.manifest.features[0] == f"x0[-{T - 1}]"
    np.testing.assert_allclose(
        check(artifact).score(FRESH.reshape(-1, T * F)), rebuilt(convolution(), FRESH.astype(np.float32)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("model", "options", "line"),
    [
        (dense(), {"shape": (F, T)}, rf"takes \[n, {T}, {F}\]; a window of \[n, {F}, {T}\]; put a Transpose in front"),
        (dense(given=(T, 4)), {}, rf"takes \[n, {T}, 4\]; {T * F} features need"),
        (dense(), {}, rf"output 'y' is \[64, {T}, {F}\] for 64 rows; allowed: \[n\] or \[n, 1\] for a score, or say which"),
        (recurrent(), {"score": "reconstruction_error"}, rf"allowed: \[n, {T * F}\] for a reconstruction"),
        (dense(), {"score": "reconstruction_error", "column": 1}, "column 1; allowed: .* and no column"),
        (recurrent(classes=3), {"column": 3}, "column 3 is not there; allowed: 0 to 2"),
        (recurrent(classes=3), {}, "say which column it is: 0 to 2"),
        (convolution("float64"), {}, r"graph does not load: .*Conv"),  # ONNX Runtime has float32 only
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(model: bytes, options: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidArtifact, match=line) as caught:
        packed(model, FLAT, **options)
    assert "\n" not in str(caught.value)


def test_lists_of_maps_are_refused_with_what_to_do() -> None:
    from skl2onnx import to_onnx

    model = LogisticRegression().fit(sample(), truth(sample()))
    given = to_onnx(model, sample()[:1].astype(np.float32)).SerializeToString()
    for options in ({}, {"output": "output_probability"}):
        with pytest.raises(InvalidArtifact, match=r"'output_probability' is a list of maps \(ZipMap\).*'zipmap': False"):
            packed(given, sample(), **options)


def test_a_classifier_tells_the_probability_of_a_class() -> None:
    model = RandomForestClassifier(10, random_state=0).fit(sample(), truth(sample()))
    fresh = sample(400, seed=3)
    for estimator in (model, LogisticRegression(max_iter=1000).fit(sample(), truth(sample()))):
        found = check(packed(estimator, sample(), column=1)).score(fresh)
        np.testing.assert_allclose(found, estimator.predict_proba(fresh)[:, 1], rtol=1e-5, atol=1e-6)
    with pytest.raises(InvalidArtifact, match="RandomForestClassifier: column is 2; allowed: 0 to 1"):
        packed(model, sample(), column=2)


def test_a_regressor_scores_when_told_so() -> None:
    model = LinearRegression().fit(sample(), sample()[:, 0] * 2)
    found = check(packed(model, sample(), score="output")).score(sample(50, seed=4))
    np.testing.assert_allclose(found, model.predict(sample(50, seed=4)), rtol=1e-5)


def test_an_autoencoder_over_windows() -> None:
    artifact = train("autoencoder", windows(), name="demo", settings={"hidden": 4, "epochs": 30}, lineage=LINEAGE)
    flat = train("autoencoder", FLAT, name="demo", settings={"hidden": 4, "epochs": 30}, lineage=LINEAGE, shape=(T, F))
    assert artifact.encode() == flat.encode()
    assert (artifact.manifest.shape, len(artifact.manifest.features)) == ((T, F), T * F)
    broken = windows(1, seed=8)
    broken[0, :, 1] = 3.0
    loaded = check(artifact)
    assert loaded.score(broken.reshape(1, -1))[0] > artifact.manifest.threshold


def test_windows_are_explained_by_field() -> None:
    artifact = packed(convolution(), score="reconstruction_error")
    assert parts(artifact.manifest) == ("x0", "x1", "x2")
    loaded, rows = scorer(artifact), FRESH.reshape(-1, T * F)[:5]
    moved = rows.reshape(-1, T, F).copy()
    moved[:, :, 2] = np.array(artifact.manifest.reference.median).reshape(T, F)[:, 2]
    found = contributions(loaded, rows, artifact.manifest)
    assert found.shape == (5, F)
    assert found[:, 2].tobytes() == (loaded.score(rows) - loaded.score(moved.reshape(5, -1))).tobytes()


def test_a_matrix_of_other_features_is_explained_by_each() -> None:
    names = tuple(f"f{index}" for index in range(T * F))
    artifact = packed(convolution(), FLAT, features=names, score="reconstruction_error")
    assert artifact.manifest.shape == (T, F)
    assert parts(artifact.manifest) == names
    assert contributions(scorer(artifact), FLAT[:2], artifact.manifest).shape == (2, T * F)


def test_a_graph_that_calls_its_batch_free_and_takes_one_row_is_asked_row_by_row() -> None:
    """As torch traces an LSTM: the initial state is a constant of batch 1."""
    artifact = packed(recurrent(state=1))
    wanted = reference(recurrent(), FRESH.astype(np.float32))[:, 0]
    np.testing.assert_allclose(check(artifact).score(FRESH.reshape(-1, T * F)), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(InvalidArtifact, match="graph fails on a block of zeros"):
        packed(recurrent(state=2))


def test_wide_windows_have_few_golden_rows() -> None:
    wide = np.random.default_rng(0).normal(size=(80, 100, 100))
    artifact = train("zscore", wide, name="demo", lineage=LINEAGE)
    assert len(artifact.golden_inputs) == 13
    assert len(artifact.encode()) < 3 * 2**20


def test_shape_and_windows_must_agree() -> None:
    with pytest.raises(InvalidSettings, match=r"training windows are \(6, 3\); shape says \(3, 6\)"):
        train("zscore", windows(), name="demo", shape=(3, 6), lineage=LINEAGE)
    names = tuple(map(str, range(T * F)))
    with pytest.raises(InvalidArtifact, match=r"shape is \(4, 4\); allowed: \(\) or \(T, F\) with T \* F = 18"):
        train("zscore", FLAT, names, name="demo", shape=(4, 4), lineage=LINEAGE)


def test_version_2_is_for_what_needs_it() -> None:
    said = {kind: example(kind).manifest for kind in ("zscore", "rules")}
    few = {kind: msgspec.structs.replace(one.reference, scores=None) for kind, one in said.items()}
    assert msgspec.structs.replace(said["zscore"], reference=few["zscore"], v=1)
    assert msgspec.structs.replace(said["rules"], reference=few["rules"], v=2)
    with pytest.raises(InvalidArtifact, match="v is 1; allowed: 2"):
        msgspec.structs.replace(said["rules"], reference=few["rules"], v=1)


def test_sizes_of_one_do_not_matter() -> None:
    body = "(float[n, 1, 6, 3] x) => (float[n, 1] y) <int64[2] a = {2, 3}> { z = ReduceMax<keepdims = 0>(x, a) y = Identity(z) }"
    artifact = packed(graph(HEAD + body))
    np.testing.assert_allclose(check(artifact).score(FRESH.reshape(-1, T * F)), FRESH.max(axis=(1, 2)), rtol=1e-6)
