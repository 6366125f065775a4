"""Graphs of strangers: what is refused before, and when, a session is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from swapstream.models import pack
from swapstream.models.arrays import Float64
from swapstream.models.errors import InvalidArtifact
from swapstream.models.graph import parse
from swapstream.models.kinds.onnx import OnnxScorer
from tests.unit.models.examples import AUTOENCODER, LINEAGE, NAMES, graph, sample

HEAD = '<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 3]>'


def scorer_of(body: str, width: int = 3, score: str = "output", output: str | None = None) -> OnnxScorer:
    return OnnxScorer(graph(f"{HEAD} g {body}"), width, output, score)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("(float[n, 3] x) => (float[n] y) <int64[1] a = {1}> { y = ReduceMax<keepdims = 0>(x, a) }", [2.0, 5.0]),
        ("(double[n, 3] x) => (double[n, 1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }", [2.0, 5.0]),
        ("(float[n, f] x) => (float[n, 1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }", [2.0, 5.0]),
        ("(float[2, 3] x) => (float[2, 1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }", [2.0, 5.0]),
        ("(float[n, 1, 3] x) => (float[n, 1, 1] y) <int64[1] a = {2}> { y = ReduceMax(x, a) }", [2.0, 5.0]),
        ("(float[n, 3, 1] x) => (float[n, 1] y) <int64[1] a = {1}> { z = ReduceMax<keepdims = 0>(x, a) y = Identity(z) }",
         [2.0, 5.0]),
    ],
    ids=["vector", "double", "any width", "batches of 2", "[n, 1, F]", "[n, F, 1]"],
)  # fmt: skip
def test_shapes_of_rows(body: str, wanted: list[float]) -> None:
    rows = np.array([[1.0, 2.0, 0.0], [5.0, 4.0, 3.0]])
    assert scorer_of(body).score(np.tile(rows, (70, 1))).tolist() == wanted * 70


@pytest.mark.parametrize(("score", "wanted"), [("output", 2.0), ("-output", -2.0)])
def test_outputs_become_scores(score: str, wanted: float) -> None:
    body = "(float[n, 3] x) => (float[n, 1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }"
    assert scorer_of(body, score=score).score(np.array([[1.0, 2.0, 0.0]]))[0] == wanted


def test_a_reconstruction_is_compared_with_its_input() -> None:
    body = "(float[n, 3] x) => (float[n, 3] y) <float one = {1.0}> { y = Add(x, one) }"
    scores = scorer_of(body, score="reconstruction_error").score(np.array([[1.0, 2.0, 4.0]]))
    assert scores.tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("(float[n, 4] x) => (float[n, 4] y) { y = Abs(x) }", r"takes \[n, 4\]; 3 features need \[n, 3\]"),
        ("(float[n, 2, 3] x) => (float[n, 2, 3] y) { y = Abs(x) }", r"takes \[n, 2, 3\]"),
        ("(float[3] x) => (float[3] y) { y = Abs(x) }", r"takes \[3\]; 3 features need"),
        ("(int64[n, 3] x) => (float[n, 3] y) { y = Cast<to = 1>(x) }", "input 'x' has element type 7"),
        ("(float[n, 3] x, float[n] z) => (float[n, 3] y) { y = Abs(x) }", r"2 inputs \(x, z\); allowed: one"),
        ("(float[n, 3] x) => (float[n, 3] y, float[n, 3] z) { y = Abs(x) z = Neg(x) }", "2 outputs .*: y, z"),
        ("(float[n, 3] x) => (float[n, 3] y) { y = Abs(x) }", r"output 'y' is \[64, 3\] for 64 rows; allowed: \[n\] or"),
        ("(float[n, 3] x) => (bool[n, 3] y) { y = IsNaN(x) }", "0 outputs of float or double"),
        ("(float[n, 3] x) => (float[n, 3] y) { y = acme.Score(x) }", "operator Score is of domain 'acme'; allowed: ai.onnx"),
        ("(float[n, 3] x) => (float[n, 3] y) { y = RandomNormalLike(x) }", "RandomNormalLike draws random numbers"),
        ("(float[n, 3] x) => (float[n, 1] y) <float[2] w = {1.0, nan}> { y = Abs(x) }", "'w' holds numbers that are not"),
        ("(float[n, 3] x) => (float[n, 1] y) <float[2] w = {1.0, inf}> { y = Abs(x) }", "'w' holds numbers that are not"),
        ("(float[n, 3] x) => (float[n, 1] y) { y = MatMul(x, x) }", "fails on a block of zeros|does not load"),
        ("(float[n, 3] x) => (float[n, 1] y) { y = NoSuchThing(x) }", "does not load"),
    ],
)
def test_refusals_are_one_line(body: str, line: str) -> None:
    with pytest.raises(InvalidArtifact, match=line) as caught:
        scorer_of(body)
    assert "\n" not in str(caught.value)


def test_an_output_is_chosen_by_name() -> None:
    body = "(float[n, 1] x) => (float[n, 1] y, float[n, 1] z) { y = Abs(x) z = Neg(x) }"
    assert scorer_of(body, 1, output="z").score(np.array([[-2.0]])).tolist() == [2.0]
    with pytest.raises(InvalidArtifact, match="no output 'q'; there are: y, z"):
        scorer_of(body, 1, output="q")


def test_a_lone_infinity_is_a_bound() -> None:
    body = "(float[n, 1] x) => (float[n, 1] y) <float top = {inf}> { y = Min(x, top) }"
    assert scorer_of(body, 1).score(np.array([[3.0]])).tolist() == [3.0]


def external(where: str) -> bytes:
    """A graph with a tensor in a file: among its weights, in a constant, or in a branch."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    out = helper.make_tensor_value_info("w", 1, [3])
    branch = helper.make_graph([constant], "branch", [], [out])
    nodes = {
        "weights": [helper.make_node("Add", ["x", "w"], ["y"])],
        "constant": [constant, helper.make_node("Add", ["x", "w"], ["y"])],
        "branch": [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
    }
    value = helper.make_tensor_value_info
    made = helper.make_graph(nodes[where], "g", [value("x", 1, ["n", 3])], [value("y", 1, ["n", 3])],
                             [tensor] if where == "weights" else [])  # fmt: skip
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


@pytest.mark.parametrize("where", ["weights", "constant", "branch"])
def test_external_data_is_refused_before_a_session(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.models.kinds.onnx._session", lambda graph: pytest.fail("a session was made"))
    with pytest.raises(InvalidArtifact, match=r"lies in an external file '\.\./\.\./etc/passwd'; export the model with its data inside"):
        OnnxScorer(external(where), 3, None, "output")


@pytest.mark.parametrize("length", [0, 1, 10, 60, 100])
def test_cut_graphs_are_refused(length: int) -> None:
    with pytest.raises(InvalidArtifact, match=r"^graph of \d+ bytes [^\n]*$"):
        parse(graph(AUTOENCODER)[:length])


def test_a_tensor_shorter_than_its_shape_is_refused() -> None:
    model = onnx.load_model_from_string(graph(AUTOENCODER))
    model.graph.initializer[0].dims[0] = 2**10
    with pytest.raises(InvalidArtifact, match="tensor 'w' can't be read"):
        parse(model.SerializeToString())


def test_a_graph_that_fails_on_a_row_spoils_only_that_row() -> None:
    body = """(float[n, 1] x) => (float[n, 1] y) <float[4] table = {0.0, 10.0, 20.0, 30.0}>
              { i = Cast<to = 7>(x) y = Gather(table, i) }"""
    rows: Float64 = np.array([[1.0], [99.0], [3.0], [2.0]])
    scores = scorer_of(body, 1).score(rows)
    np.testing.assert_array_equal(scores, [10.0, np.nan, 30.0, 20.0])


def test_functions_inside_a_model_are_inlined(rows: Float64) -> None:
    text = """<ir_version: 8, opset_import: ["": 18, "local": 1]>
        g (float[n, 5] x) => (float[n, 5] y) { y = local.half(x) }
        <opset_import: ["": 18], domain: "local"> half (a) => (b) { two = Constant<value_float = 2.0>() b = Div(a, two) }"""
    artifact = pack(graph(text), rows, NAMES, name="demo", score="reconstruction_error", lineage=LINEAGE)
    wanted = np.square(artifact.golden_inputs / 2).mean(axis=1)
    np.testing.assert_allclose(artifact.golden_scores, wanted, rtol=1e-5)


def test_a_path_and_its_bytes_are_the_same_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(graph(AUTOENCODER))
    given = {"name": "demo", "score": "reconstruction_error", "lineage": LINEAGE}
    assert pack(tmp_path / "m.onnx", sample(), NAMES, **given).digest == pack(graph(AUTOENCODER), sample(), NAMES, **given).digest
    with pytest.raises(InvalidArtifact, match=r"model .*gone.onnx: no such file"):
        pack(tmp_path / "gone.onnx", sample(), NAMES, **given)
