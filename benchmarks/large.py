"""A model that is large to send, check and load, and cheap to run: a table in an ONNX graph, of which a record looks up one number."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from swapstream.models import pack
from swapstream.models.artifact import Artifact

NAME = "large"
STEPS = 100_000.0
"""Places in the table for each unit of the first feature."""
SAMPLE = 2_000


def versions(megabytes: int, features: tuple[str, ...], count: int) -> list[Artifact]:
    """`large:1` to `large:count`: the same numbers under other digests, so that each has to be fetched, checked and loaded."""
    sample = np.random.default_rng(1).normal(20.0, 3.0, (SAMPLE, len(features)))
    first = pack(graph(megabytes, len(features)), sample, features, name=NAME, score="output", output="score")
    return [msgspec.structs.replace(first, manifest=msgspec.structs.replace(first.manifest, version=number))
            for number in range(1, count + 1)]


def graph(megabytes: int, width: int) -> bytes:
    """Input [n, width] float32, output `score` [n, 1]."""
    table = np.abs(np.random.default_rng(2).normal(size=(megabytes * 10**6 // 4, 1))).astype(np.float32)
    numbers = [
        numpy_helper.from_array(np.array([0], np.int64), "column"),
        numpy_helper.from_array(np.array([STEPS], np.float32), "steps"),
        numpy_helper.from_array(np.array([len(table)], np.int64), "places"),
        numpy_helper.from_array(np.array([-1, 1], np.int64), "one"),
        numpy_helper.from_array(np.array([-1], np.int64), "flat"),
        numpy_helper.from_array(table, "table"),
    ]
    nodes = [
        helper.make_node("Gather", ["input", "column"], ["first"], axis=1),
        helper.make_node("Mul", ["first", "steps"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mod", ["whole", "places"], ["place"]),  # not negative: it has the divisor's sign
        helper.make_node("Reshape", ["place", "flat"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["found"], axis=0),
        helper.make_node("Reshape", ["found", "one"], ["score"]),
    ]
    body = helper.make_graph(nodes, NAME, [value("input", width)], [value("score", 1)], numbers)
    model: Any = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def value(name: str, width: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
