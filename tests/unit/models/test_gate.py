"""The gate: what it lets through, and that each refusal names the check and the value."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models import pack
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.errors import Rejected
from swapstream.models.gate import check, close
from tests.unit.models.examples import LINEAGE, NAMES, UNEVEN, graph, make, sample


def changed(artifact: Artifact, manifest: dict[str, Any] | None = None, **fields: Any) -> Artifact:
    """The artifact with other fields, and the digest that belongs to them."""
    artifact = msgspec.structs.replace(artifact, **fields)
    digest = payload_digest(artifact.parameters, artifact.graph, artifact.golden_inputs, artifact.golden_scores)
    described = msgspec.structs.replace(artifact.manifest, **{"digest": digest, **(manifest or {})})
    return msgspec.structs.replace(artifact, manifest=described)


def test_a_good_model_passes_and_is_loaded(artifact: Artifact) -> None:
    assert check(artifact, NAMES).score(sample()).shape == (500,)


def test_without_features_that_check_is_left_out(artifact: Artifact) -> None:
    check(artifact)


def test_digest(artifact: Artifact) -> None:
    described = msgspec.structs.replace(artifact.manifest, digest="00")
    with pytest.raises(Rejected, match=r"^demo:1: digest: [0-9a-f]{64}; the manifest says 00$"):
        check(msgspec.structs.replace(artifact, manifest=described))


@pytest.mark.parametrize(
    ("features", "line"),
    [
        (("a", "b", "d", "c", "e"), "demo:1: features: column 2 is 'd'; the model reads 'c' there"),
        (NAMES[:4], "demo:1: features: 4 columns; the model reads 5: a, b, c, d, e"),
        ((*NAMES, "f"), "demo:1: features: 6 columns; the model reads 5"),
    ],
)
def test_features(artifact: Artifact, features: tuple[str, ...], line: str) -> None:
    with pytest.raises(Rejected, match=line):
        check(artifact, features)


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({}, "load: demo:1: parameter 'mean' is missing; found: deviation"),
        ({"mean": np.zeros(4)}, r"parameter 'mean' is float64\(4,\); allowed is float64\(5,\)"),
        ({"mean": np.zeros(5, np.float32)}, r"parameter 'mean' is float32\(5,\)"),
        ({"mean": np.array([0, 0, np.nan, 0, 0.0])}, "parameter 'mean' must be finite"),
        ({"mean": np.zeros(5), "deviation": np.zeros(5)}, "parameter 'deviation' must be finite and positive"),
        ({"mean": np.zeros(5), "extra": np.zeros(5)}, "unknown parameter 'extra'; allowed: mean, deviation"),
    ],
)
def test_native_parameters(parameters: dict[str, Any], line: str) -> None:
    model = changed(make("zscore"), parameters={"deviation": np.ones(5), **parameters})
    with pytest.raises(Rejected, match=f"^demo:1: .*{line}"):
        check(model)


def test_an_unknown_kind() -> None:
    with pytest.raises(Rejected, match="demo:1: load: model kind 'svd' does not exist"):
        check(changed(make("zscore"), {"kind": "svd"}))


def test_a_kind_with_another_kinds_numbers() -> None:
    with pytest.raises(Rejected, match="load: demo:1: kind onnx has a graph and no parameters"):
        check(changed(make("zscore"), {"kind": "onnx"}))
    with pytest.raises(Rejected, match="load: demo:1: kind zscore has no graph"):
        check(changed(make("onnx"), {"kind": "zscore"}))


def test_golden_scores_must_come_out_again(artifact: Artifact) -> None:
    scores = artifact.golden_scores.copy()
    scores[7] *= 1.001
    with pytest.raises(Rejected, match=r"^demo:1: golden: row 7 scores .*; the trainer's .* within 1e-0[56]$"):
        check(changed(artifact, golden_scores=scores))


@pytest.mark.parametrize("field", ["golden_inputs", "golden_scores"])
def test_golden_vectors_must_be_finite(artifact: Artifact, field: str) -> None:
    with pytest.raises(Rejected, match="golden: vectors that are not finite; finite numbers"):
        check(changed(artifact, **{field: np.full_like(getattr(artifact, field), np.nan)}))


def test_a_graph_whose_bits_depend_on_the_batch_may_not_promise_otherwise() -> None:
    uneven = pack(graph(UNEVEN), sample(), NAMES, name="demo", lineage=LINEAGE)
    assert not uneven.manifest.bitwise
    check(uneven)
    with pytest.raises(Rejected, match=r"bitwise: the bits of golden row .* depend on the batch; the manifest promises"):
        check(changed(uneven, {"bitwise": True}))


def test_the_budget(artifact: Artifact) -> None:
    with pytest.raises(Rejected, match=r"^demo:1: budget: 0\.\d+ s for 64 rows; at most 0\.0 s$"):
        check(artifact, NAMES, budget=0.0)


def test_scores_near_zero_are_compared_on_the_scale_of_the_others() -> None:
    wanted = np.array([1e-9, 1.0, -1.0])
    assert close(wanted + 1e-7, wanted, 1e-6).all()
    assert not close(wanted + 1e-5, wanted, 1e-6).any()
    assert close(np.array([np.nan, 1.0, -1.0]), wanted, 1e-6).tolist() == [False, True, True]
