"""Small models of every kind, and the rows they are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from swapstream.models import pack, train
from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.manifest import Lineage

LINEAGE = Lineage(author="Ada <ada@example.org>", created="2026-01-01T00:00:00+00:00", command="test", seed=0)
NAMES = ("a", "b", "c", "d", "e")
WEIGHTS = """
    float[5, 5] w = {
        0.9, 0.1, 0.0, 0.2, 0.0,  0.1, 0.7, 0.3, 0.0, 0.0,  0.0, 0.3, 0.8, 0.1, 0.0,
        0.2, 0.0, 0.1, 0.6, 0.4,  0.0, 0.0, 0.0, 0.4, 0.5}
"""
AUTOENCODER = f"""
    <ir_version: 8, opset_import: ["": 18]>
    autoencoder (float[n, 5] x) => (float[n, 5] y) <{WEIGHTS}> {{ y = MatMul(x, w) }}
"""
# ONNX Runtime's ReduceMean rounds by where a row lies in its block.
UNEVEN = f"""
    <ir_version: 8, opset_import: ["": 18]>
    distance (float[n, 5] x) => (float[n, 1] y) <{WEIGHTS}, int64[1] axes = {{1}}>
    {{ m = MatMul(x, w) d = Sub(x, m) q = Mul(d, d) y = ReduceMean<keepdims = 1>(q, axes) }}
"""


def graph(text: str) -> bytes:
    """The bytes of a graph in ONNX's own notation."""
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def sample(count: int = 500, seed: int = 0) -> Float64:
    """Five correlated features of different sizes, the last one constant."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, 5)) @ generator.normal(size=(5, 5)) * [1.0, 10.0, 0.1, 3.0, 1.0] + [0, 50, 0, -4, 7]
    rows[:, 4] = 7.0
    return rows


def make(kind: str, **changes: object) -> Artifact:
    """An artifact of this kind; a graph for the kind that is not trained here."""
    build: Callable[..., Artifact] = train
    model: object = kind
    if kind == "onnx":
        build, model = pack, graph(AUTOENCODER)
        changes = {"score": "reconstruction_error", **changes}
    given: dict[str, object] = {"name": "demo", "lineage": LINEAGE, **changes}
    return build(model, sample(), NAMES, **given)
