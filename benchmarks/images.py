"""Crayfish's model: images of 28×28 numbers, one a message, scored by a small feed-forward network (an ONNX graph).

The network is that of the Crayfish benchmark (Horchidan et al., EDBT 2024): 784 → 32, three times 32 → 32, → 10, ReLU between.
Pass its file, or one of the same shape is made, with random weights. A score is one number, so the largest of the ten outputs
is appended to the graph; everybody runs this same graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.workload import START_MS, Message, Workload, names
from swapstream.models import Store, pack
from swapstream.models.artifact import Artifact

PIXELS = 28 * 28
WIDTHS = (PIXELS, 32, 32, 32, 32, 10)
DEVICES = 64
SAMPLE = 2_000
AXES_ARE_AN_INPUT = 18
"""Since this version of ONNX's operators."""


class Images(Workload):
    """3.1 kB of msgpack an image: 784 float32 as they lie in memory. Features: the pixels; no state."""

    extractor = ["identity"]  # noqa: RUF012

    def __init__(self, graph: Path | None) -> None:
        self.title = "one image of 28×28 float32 a message, Crayfish's network"
        self.graph = with_score(onnx.load(graph) if graph else network())
        self.devices = names("camera", DEVICES)

    @property
    def schema(self) -> dict[str, Any]:
        fields = [f"p{number}" for number in range(PIXELS)]
        return {"name": "bench", "layout": "columnar", "device": "id", "time": "ts", "values": "v", "fields": fields}

    def messages(self, first: int, count: int) -> Iterator[Message]:
        for number, image in enumerate(images(first, count), first):
            name = self.devices[number % DEVICES]
            when = np.array([START_MS + number], "<i8").tobytes()
            yield name, msgspec.msgpack.encode({"id": name, "ts": when, "v": image.tobytes()})

    def told(self, directory: Path) -> dict[str, Any]:
        file = directory / "graph.onnx"
        file.write_bytes(self.graph)
        return {"graph": str(file)}

    def train(self, store: Path | str, directory: Path) -> Artifact:
        """Pack the graph as it is."""
        sample = images(SAMPLE, SAMPLE).astype(np.float64)
        artifact = pack(self.graph, sample, self.schema["fields"], name="bench", score="output", output="score")
        Store(store).put(artifact)
        return artifact


def images(first: int, count: int) -> NDArray[np.float32]:
    """[count, 784], values from 0 to 1."""
    return np.random.default_rng(first).random((count, PIXELS), np.float32).astype("<f4")


def network() -> Any:
    """A graph of Crayfish's shape: input [n, 1, 784], output [n, 10]."""
    random = np.random.default_rng(0)
    nodes, numbers, flow = [helper.make_node("Flatten", ["input"], ["flat"])], [], "flat"
    for layer, (width, height) in enumerate(pairwise(WIDTHS)):
        weight = random.normal(0, (2 / width) ** 0.5, (height, width)).astype(np.float32)
        numbers += [numpy_helper.from_array(weight, f"w{layer}"), numpy_helper.from_array(np.zeros(height, np.float32), f"b{layer}")]
        last = layer == len(WIDTHS) - 2
        nodes.append(helper.make_node("Gemm", [flow, f"w{layer}", f"b{layer}"], ["output" if last else f"h{layer}"], transB=1))
        flow = f"h{layer}"
        if not last:
            nodes.append(helper.make_node("Relu", [flow], [f"r{layer}"]))
            flow = f"r{layer}"
    graph = helper.make_graph(
        nodes, "crayfish", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, PIXELS])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", WIDTHS[-1]])], numbers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_score(model: Any) -> bytes:
    """The model with one output, `score` [n, 1]: the largest of its outputs."""
    version = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    [output] = model.graph.output
    if version < AXES_ARE_AN_INPUT:
        largest = helper.make_node("ReduceMax", [output.name], ["score"], axes=[1], keepdims=1)
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "score_axes"))
        largest = helper.make_node("ReduceMax", [output.name, "score_axes"], ["score"], keepdims=1)
    model.graph.node.append(largest)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1]))
    data: bytes = model.SerializeToString()
    return data
