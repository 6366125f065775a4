"""Models that nobody may serve, by name, each with the gate's check that refuses it and a part of what that says.

All read the features `temperature` and `pressure`, are called bad:1, and (but for TOO_LARGE) are small enough to travel inline.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper, parser

from swapstream.models.arrays import Float64
from swapstream.models.artifact import MAX_BYTES, Artifact, payload_digest
from swapstream.models.manifest import Lineage, Manifest, Reference

REF = "bad:1"
FEATURES = ("temperature", "pressure")
ROWS: Float64 = np.array([[1.0, 2.0], [-3.0, 0.5], [4.0, 4.0]])
HEAD = '<ir_version: 8, opset_import: ["": 18, "ai.onnx.ml": 3]>'
LARGEST = "(float[n, 2] x) => (float[n, 1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }"


class BadArtifact(NamedTuple):
    """`data` is what is published as `ref`; the gate's line is `<ref>: <check>: … <said> …`."""

    name: str
    check: str
    said: str
    data: bytes
    ref: str = REF

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def numbered(self, version: int) -> BadArtifact:
        """The same as bad:VERSION, where many are published side by side."""
        return self._replace(data=renumbered(self.data, version), ref=f"bad:{version}")


def renumbered(data: bytes, version: int) -> bytes:
    """Bytes that call themselves bad:1, as bad:VERSION; what calls itself something else, or nothing, is left alone."""
    try:
        wire = msgspec.msgpack.decode(data)
    except msgspec.DecodeError:
        return data
    manifest = wire.get("manifest", {}) if isinstance(wire, dict) else {}
    if f"{manifest.get('name')}:{manifest.get('version')}" != REF:
        return data
    return msgspec.msgpack.encode({**wire, "manifest": {**manifest, "version": version}})


Maker = Callable[[], bytes]
_MAKERS: dict[str, tuple[str, str, Maker]] = {}


def bad(check: str, said: str) -> Callable[[Maker], Maker]:
    """Take a function in: what it makes is called as it is."""

    def take(make: Maker) -> Maker:
        _MAKERS[make.__name__.replace("_", " ")] = (check, said, make)
        return make

    return take


def names() -> list[str]:
    return list(_MAKERS)


@cache
def bad_artifact(name: str) -> BadArtifact:
    check, said, make = _MAKERS[name]
    return BadArtifact(name, check, said, make())


def artifact(graph: bytes | None = None, scores: Any = None, inputs: Float64 = ROWS, **manifest: Any) -> Artifact:
    """An artifact as a trainer would have packed it, had nobody looked. Without a graph a native z-score of mean 0, deviation 1."""
    numbers = {} if graph else {"mean": np.zeros(2), "deviation": np.ones(2)}
    golden = np.abs(inputs).max(axis=1) if scores is None else np.asarray(scores, np.float64)
    said: dict[str, Any] = {
        "v": 1,
        "name": "bad",
        "version": 1,
        "kind": "onnx" if graph else "zscore",
        "features": FEATURES,
        "score": "output",
        "threshold": 3.0,
        "tolerance": 1e-5,
        "bitwise": False,
        "reference": Reference((0.0, 0.0), (0.0, 0.0), (1.0, 1.0)),
        "lineage": Lineage("Mallory", "2026-01-01T00:00:00+00:00", "test"),
        "digest": payload_digest(numbers, graph, inputs, golden),
    }
    return Artifact(Manifest(**{**said, **manifest}), numbers, graph, inputs, golden)


def onnx_artifact(body: str, head: str = HEAD, scores: Any = (2.0, 0.5, 4.0), **manifest: Any) -> bytes:
    """An artifact of a graph in ONNX's own notation."""
    return artifact(parser.parse_model(f"{head} g {body}").SerializeToString(), scores, **manifest).encode()


def good() -> bytes:
    """What all graphs below would be, were they in order: the larger of both features."""
    return onnx_artifact(LARGEST)


# -- bytes that are no artifact


class Trap:
    """A pickle that writes a file where somebody loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("swapstream-was-here"),)


@bad("format", "a pickle (protocol 5)")
def a_pickle() -> bytes:
    return pickle.dumps(Trap(), protocol=5)


@bad("format", "a pickle (protocol 0 or 1)")
def an_old_pickle() -> bytes:
    return pickle.dumps(Trap(), protocol=0)


@bad("format", "a pickle of joblib's")
def a_joblib_file() -> bytes:
    import joblib

    made = io.BytesIO()
    joblib.dump({"mean": np.zeros(3)}, made)
    return made.getvalue()


@bad("format", "compressed by zlib, as joblib's pickles are")
def a_compressed_joblib_file() -> bytes:
    import joblib

    made = io.BytesIO()
    joblib.dump({"mean": np.zeros(3)}, made, compress=3)
    return made.getvalue()


@bad("format", "an ONNX graph, which `swapstream pack` makes an artifact of")
def a_bare_graph() -> bytes:
    return bytes(parser.parse_model(f"{HEAD} g {LARGEST}").SerializeToString())


@bad("format", "truncated")
def a_truncated_artifact() -> bytes:
    return good()[:-20]


@bad("digest", "its manifest says")
def numbers_that_were_changed() -> bytes:
    wire = msgspec.msgpack.decode(artifact().encode())
    dtype, shape, numbers = wire["payload"]["parameters"]["mean"]
    wire["payload"]["parameters"]["mean"] = [dtype, shape, numbers[:-1] + b"\x40"]
    return msgspec.msgpack.encode(wire)


@bad("name", "model name '../../etc/cron.d/evil'")
def path_characters_in_its_name() -> bytes:
    return _described(name="../../etc/cron.d/evil")


@bad("name", "calls itself good:2")
def another_ones_name() -> bytes:
    return artifact(name="good", version=2).encode()


@bad("manifest", "tolerance is 1000.0; allowed: 0 to 0.001")
def a_tolerance_for_everything() -> bytes:
    return _described(tolerance=1000.0)


def _described(**changes: Any) -> bytes:
    """A manifest that nobody could build here."""
    wire = msgspec.msgpack.decode(artifact().encode())
    return msgspec.msgpack.encode({**wire, "manifest": {**wire["manifest"], **changes}})


def too_large() -> bytes:
    """More than any artifact may be."""
    return artifact().encode() + bytes(MAX_BYTES)


# -- graphs


@bad("graph", "is not an ONNX model: a pickle (protocol 4)")
def a_pickle_as_a_graph() -> bytes:
    return artifact(pickle.dumps(Trap(), protocol=4)).encode()


@bad("graph", "is not an ONNX model")
def a_truncated_graph() -> bytes:
    return artifact(bytes(parser.parse_model(f"{HEAD} g {LARGEST}").SerializeToString())[:-30]).encode()


@bad("opset", "opset of ai.onnx is 99; allowed: 7 to 26")
def an_opset_to_come() -> bytes:
    return onnx_artifact(LARGEST, '<ir_version: 8, opset_import: ["": 99]>')


@bad("opset", "IR version is 99; allowed: 1 to 13")
def a_format_to_come() -> bytes:
    return onnx_artifact(LARGEST, '<ir_version: 99, opset_import: ["": 18]>')


@bad("operators", "operator Score is of domain 'acme'; allowed: ai.onnx, ai.onnx.ml")
def a_custom_operator() -> bytes:
    return onnx_artifact(
        "(float[n, 2] x) => (float[n, 1] y) { y = acme.Score(x) }", '<ir_version: 8, opset_import: ["": 18, "acme": 1]>'
    )


@bad("operators", "operator RandomUniformLike draws random numbers")
def a_random_operator() -> bytes:
    return onnx_artifact("(float[n, 2] x) => (float[n, 2] y) { y = RandomUniformLike(x) }")


@bad("external", "lies in an external file '../../../etc/passwd'")
def external_data_above() -> bytes:
    return _external("../../../etc/passwd")


@bad("external", "lies in an external file '/etc/passwd'")
def external_data_at_an_absolute_path() -> bytes:
    return _external("/etc/passwd")


@bad("external", "lies in an external file '")
def external_data_behind_a_symlink() -> bytes:
    """A link beside the working directory's files, to one elsewhere."""
    return _external("swapstream-link")


@bad("external", "lies in an external file '../x'")
def external_data_in_a_branch() -> bytes:
    constant = helper.make_node("Constant", [], ["w"], value=_elsewhere("../x"))
    out = helper.make_tensor_value_info("w", 1, [1])
    branch = helper.make_graph([constant], "branch", [], [out])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    go = numpy_helper.from_array(np.array(True), "c")
    return artifact(_model([node], [go])).encode()


def _external(location: str) -> bytes:
    return artifact(_model([helper.make_node("Add", ["x", "w"], ["y"])], [_elsewhere(location)])).encode()


def _elsewhere(location: str) -> Any:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def _model(nodes: list[Any], weights: list[Any]) -> bytes:
    value = helper.make_tensor_value_info
    made = helper.make_graph(nodes, "g", [value("x", 1, ["n", 2])], [value("y", 1, ["n", 1])], weights)
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString())


@bad("elements", "tensor 'w' is of 1099511627776 elements; allowed: 16777216")
def a_huge_initialiser() -> bytes:
    """It claims a terabyte, and holds 8 bytes."""
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.dims[:] = [2**20, 2**20]
    return artifact(_model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])).encode()


@bad("elements", "tensor 'w' is of 10000000000 elements")
def a_huge_constant() -> bytes:
    """Made while the graph loads."""
    return onnx_artifact(
        "(float[n, 2] x) => (float[n, 1] y) <int64[2] s = {100000, 100000}, int64[2] a = {0, 1}>"
        "{ w = ConstantOfShape(s) m = ReduceMax<keepdims = 0>(w, a) y = Add(x, m) }"
    )


@bad("finite", "tensor 'w' holds numbers that are not finite")
def weights_that_are_nan() -> bytes:
    return onnx_artifact("(float[n, 2] x) => (float[n, 2] y) <float[2] w = {1.0, nan}> { y = Add(x, w) }")


@bad("finite", "parameter 'mean' holds nan; allowed: finite numbers")
def parameters_that_are_nan() -> bytes:
    made = artifact()
    numbers = {"mean": np.array([0.0, np.nan]), "deviation": np.ones(2)}
    digest = payload_digest(numbers, None, made.golden_inputs, made.golden_scores)
    manifest = msgspec.structs.replace(made.manifest, digest=digest)
    return msgspec.structs.replace(made, parameters=numbers, manifest=manifest).encode()


@bad("features", "column 1 is 'pressure'; the model reads 'flow' there")
def other_features() -> bytes:
    return artifact(features=("temperature", "flow")).encode()


@bad("signature", "takes [n, 3]; 2 features need [n, 2]")
def an_input_of_another_width() -> bytes:
    return onnx_artifact("(float[n, 3] x) => (float[n, 1] y) <int64[1] a = {1}> { y = ReduceMax(x, a) }")


@bad("signature", "takes [2]")
def an_input_of_another_rank() -> bytes:
    return onnx_artifact("(float[2] x) => (float[2] y) { y = Abs(x) }")


@bad("signature", "input 'x' has element type 7; allowed: 1 (float), 11 (double)")
def an_input_of_another_type() -> bytes:
    return onnx_artifact("(int64[n, 2] x) => (float[n, 2] y) { y = Cast<to = 1>(x) }")


@bad("signature", "no output 'score'; there are: y")
def an_output_of_another_name() -> bytes:
    return onnx_artifact(LARGEST, output="score")


@bad("signature", "0 outputs of float or double")
def an_output_of_another_type() -> bytes:
    return onnx_artifact("(float[n, 2] x) => (bool[n, 2] y) { y = IsNaN(x) }")


@bad("output", "output 'y' is [64, 2] for 64 rows; allowed: [n] or [n, 1]")
def an_output_of_another_shape() -> bytes:
    return onnx_artifact("(float[n, 2] x) => (float[n, 2] y) { y = Abs(x) }")


@bad("load", "graph does not load")
def an_operator_that_does_not_exist() -> bytes:
    return onnx_artifact("(float[n, 2] x) => (float[n, 2] y) { y = NoSuchThing(x) }")


# -- models that load


@bad("golden", "row 1 scores nan; the trainer's 0.5 within 1e-05")
def nan_on_a_golden_vector() -> bytes:
    return onnx_artifact(
        "(float[n, 2] x) => (float[n, 1] y) <int64[1] a = {1}> { l = Sqrt(x) q = Mul(l, l) y = ReduceMax(q, a) }"
    )


@bad("golden", "row 2 scores 4; the trainer's 5 within 1e-05")
def golden_vectors_that_differ() -> bytes:
    return onnx_artifact(LARGEST, scores=(2.0, 0.5, 5.0))


@bad("golden", "vectors that are not finite")
def golden_vectors_that_are_nan() -> bytes:
    return artifact(scores=(1.0, np.nan, 1.0)).encode()


SLOW = """(float[n, 2] x) => (float[n, 1] y) <int64 trips = {4000000}, bool go = {1}, int64[1] a = {1}>
{ z = Loop (trips, go, x) <body = each (int64 i, bool c, float[n, 2] v) => (bool d, float[n, 2] w) { d = Identity(c) w = Identity(v) }>
  y = ReduceMax(z, a) }"""


@bad("budget", "s for 64 rows; at most 0.5 s")
def a_model_slower_than_its_budget() -> bytes:
    """Two seconds a block."""
    return onnx_artifact(SLOW)
