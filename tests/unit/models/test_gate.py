"""The gate: what it lets through, and that each refusal names the check and the value."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import parser

from swapstream.models import pack
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.checks import close
from swapstream.models.errors import InvalidArtifact, Rejected
from swapstream.models.gate import Subject, check, check_budget, unpack
from swapstream.models.graph import MAX_IR, OPSETS, parse
from swapstream.models.kinds.onnx import OnnxScorer
from tests.support import bad_artifacts
from tests.support.bad_artifacts import FEATURES, REF, SLOW, bad_artifact, good, names, onnx_artifact, too_large
from tests.unit.models.examples import LINEAGE, NAMES, UNEVEN, graph, make, sample

IMPUTER = """<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 3]> g (float[n, 2] x) => (float[n, 2] y)
    { y = ai.onnx.ml.Imputer<imputed_value_floats = [1.0, 2.0], replaced_value_float = nan>(x) }"""
SCALER = """<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 3]> g (float[n, 2] x) => (float[n, 2] y)
    { y = ai.onnx.ml.Scaler<offset = [1.0, nan], scale = [1.0, 1.0]>(x) }"""


def changed(artifact: Artifact, manifest: dict[str, Any] | None = None, **fields: Any) -> Artifact:
    """The artifact with other fields, and the digest that belongs to them."""
    artifact = msgspec.structs.replace(artifact, **fields)
    digest = payload_digest(artifact.parameters, artifact.graph, artifact.golden_inputs, artifact.golden_scores)
    described = msgspec.structs.replace(artifact.manifest, **{"digest": digest, **(manifest or {})})
    return msgspec.structs.replace(artifact, manifest=described)


def rejection(data: bytes) -> str:
    """What a worker says that meets these bytes as bad:1."""
    with pytest.raises(Rejected) as caught:
        check(unpack(data, REF, hashlib.sha256(data).hexdigest()), FEATURES)
    return str(caught.value)


@pytest.mark.parametrize("name", names())
def test_every_bad_artifact_is_refused_by_its_check(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("swapstream-link").symlink_to("/etc/passwd")
    bad = bad_artifact(name)
    line = rejection(bad.data)
    assert line.startswith(f"bad:1: {bad.check}: ")
    assert bad.said in line
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == [tmp_path / "swapstream-link"], "something was run"


def test_what_they_are_made_of_is_good() -> None:
    for data in (good(), bad_artifacts.artifact().encode()):
        check(unpack(data, REF, hashlib.sha256(data).hexdigest()), FEATURES)


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    assert rejection(too_large()).startswith(f"bad:1: size: artifact of {len(too_large())} bytes; allowed are")


def test_other_bytes_than_were_pinned() -> None:
    with pytest.raises(Rejected, match=r"^bad:1: digest: \d+ bytes with sha256 [0-9a-f]{64}; the plan says 00$"):
        unpack(good(), REF, "00")


@pytest.mark.parametrize("name", [name for name in names() if bad_artifact(name).check in ("external", "elements", "opset")])
def test_no_session_is_made_of_a_graph_that_breaks_a_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.models.kinds.onnx._session", lambda graph: pytest.fail("a session was made"))
    rejection(bad_artifact(name).data)


def test_every_check_of_a_good_model_has_its_row(artifact: Artifact) -> None:
    rows = {finding.check: finding for finding in Subject(artifact, NAMES).findings()}
    assert all(finding.ok and finding.value and finding.limit for finding in rows.values())
    wanted = {"size", "digest", "features", "kind", "finite", "load", "budget", "golden", "bitwise"}
    if artifact.graph is not None:
        wanted |= {"graph", "opset", "operators", "external", "elements", "signature"}
    assert set(rows) == wanted


def test_nothing_comes_after_a_refusal() -> None:
    findings = list(Subject(Artifact.decode(bad_artifact("external data above").data)).findings())
    assert [finding.check for finding in findings if not finding.ok] == ["external"]
    assert not findings[-1].ok


def test_a_model_that_never_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.models.kinds.onnx.TRIAL_SECONDS", 0.2)
    endless = Artifact.decode(onnx_artifact(SLOW.replace("4000000", "1000000000000")))
    with pytest.raises(Rejected, match=r"^bad:1: output: graph fails on a block of zeros: .*terminate.* within 0\.2 s$"):
        check(endless, budget=float("inf"))


def test_nan_may_be_a_word_but_no_weight() -> None:
    parse(parser.parse_model(IMPUTER).SerializeToString())
    with pytest.raises(InvalidArtifact, match="operator Scaler: offset holds NaN"):
        parse(parser.parse_model(SCALER).SerializeToString())


def test_tensors_in_a_function_are_looked_at() -> None:
    """Functions of a stranger's model may lie in ONNX's own domain."""
    model = onnx.load_model_from_string(Artifact.decode(bad_artifact("external data in a branch").data).graph)
    opset = [onnx.helper.make_opsetid("", 18)]
    model.functions.append(onnx.helper.make_function("", "Hidden", ["x"], ["y"], list(model.graph.node), opset))
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Hidden", ["x"], ["y"]))
    with pytest.raises(InvalidArtifact, match="lies in an external file"):
        parse(model.SerializeToString())


@pytest.mark.parametrize("domain", sorted(set(OPSETS) - {"ai.onnx"}))
def test_the_runtime_loads_the_first_and_the_last_opset(domain: str) -> None:
    body = "(float[n, 2] x) => (float[n, 2] y) { y = Abs(x) }"
    first, last = OPSETS[domain]
    for version in (first, last):
        opsets = {"": 18, "ai.onnx.ml": 3} | {domain: version}
        imports = ", ".join(f'"{name}": {number}' for name, number in opsets.items())
        for ir in (8, MAX_IR):
            text = f"<ir_version: {ir}, opset_import: [{imports}]> g {body}"
            OnnxScorer(graph(text), 2, None, "output", column=0)


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
        ({}, "load: parameter 'mean' is missing; found: deviation"),
        ({"mean": np.zeros(4)}, r"parameter 'mean' is float64\(4,\); allowed is float64\(5,\)"),
        ({"mean": np.zeros(5, np.float32)}, r"parameter 'mean' is float32\(5,\)"),
        ({"mean": np.array([0, 0, np.nan, 0, 0.0])}, "finite: parameter 'mean' holds nan; allowed: finite numbers"),
        ({"mean": np.zeros(5), "deviation": np.zeros(5)}, "parameter 'deviation' must be finite and positive"),
        ({"mean": np.zeros(5), "extra": np.zeros(5)}, "unknown parameter 'extra'; allowed: mean, deviation"),
    ],
)
def test_native_parameters(parameters: dict[str, Any], line: str) -> None:
    model = changed(make("zscore"), parameters={"deviation": np.ones(5), **parameters})
    with pytest.raises(Rejected, match=f"^demo:1: .*{line}"):
        check(model)


def test_an_unknown_kind() -> None:
    with pytest.raises(Rejected, match="demo:1: kind: model kind 'svd' does not exist"):
        check(changed(make("zscore"), {"kind": "svd"}))


def test_a_kind_with_another_kinds_numbers() -> None:
    with pytest.raises(Rejected, match="load: kind onnx has a graph and no parameters"):
        check(changed(make("zscore"), {"kind": "onnx"}))
    with pytest.raises(Rejected, match="load: kind zscore has no graph"):
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


def test_the_budget_can_be_asked_alone(artifact: Artifact) -> None:
    loaded = check(artifact, NAMES, budget=float("inf"))
    check_budget(artifact, loaded)
    with pytest.raises(Rejected, match=r"^demo:1: budget: 0\.\d+ s for 64 rows; at most 0\.0 s$"):
        check_budget(artifact, loaded, 0.0)


def test_scores_near_zero_are_compared_on_the_scale_of_the_others() -> None:
    wanted = np.array([1e-9, 1.0, -1.0])
    assert close(wanted + 1e-7, wanted, 1e-6).all()
    assert not close(wanted + 1e-5, wanted, 1e-6).any()
    assert close(np.array([np.nan, 1.0, -1.0]), wanted, 1e-6).tolist() == [False, True, True]
