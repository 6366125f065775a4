"""Small models of every kind, and the rows they are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
from numpy.typing import NDArray

from swapstream.models import pack, train
from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.kinds import KINDS
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


RULES = "a > 1 or b > 60: 2; d < -12 and (e == 7 or c / a > 3)\nmax(abs(a), abs(d + 4)) > 6"
SETTINGS: dict[str, dict[str, int | float | str]] = {
    "rules": {"rules": RULES},
    "isolation_forest": {"trees": 20},
    "autoencoder": {"hidden": 2, "epochs": 20},
}


def truth(rows: Float64) -> NDArray[np.bool_]:
    """Which rows are called anomalies: those with much of a, b and d together."""
    found: NDArray[np.bool_] = rows[:, 0] + (rows[:, 1] - 50) / 10 + (rows[:, 3] + 4) / 3 > 2
    return found


def normal(kind: str, rows: Float64) -> Float64:
    """The rows that a threshold is calibrated on: all but known anomalies, where the kind knows them."""
    return rows[~truth(rows)] if KINDS[kind].LABELS else rows


@cache
def example(kind: str) -> Artifact:
    """`make(kind)`, made once."""
    return make(kind)


def make(kind: str, **changes: object) -> Artifact:
    """An artifact of this kind; a graph for the kind that is not trained here."""
    build: Callable[..., Artifact] = train
    model: object = kind
    given: dict[str, object] = {"name": "demo", "lineage": LINEAGE, "settings": SETTINGS.get(kind, {})}
    if kind == "onnx":
        build, model = pack, graph(AUTOENCODER)
        given = {"name": "demo", "lineage": LINEAGE, "score": "reconstruction_error"}
    elif KINDS[kind].LABELS:
        given["labels"] = truth(sample())
    return build(model, sample(), NAMES, **{**given, **changes})
