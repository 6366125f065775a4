"""ONNX graphs over windows [n, T, F], as exporters write them: dense, convolutional, recurrent."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from swapstream.models.arrays import Float64

T, F, HIDDEN = 6, 3, 4
TYPES = {"float32": 1, "float64": 11}


def windows(count: int = 200, seed: int = 0) -> Float64:
    """Windows of three sines of different phase, with noise."""
    generator = np.random.default_rng(seed)
    start = generator.uniform(0, 6, size=(count, 1, 1))
    steps = np.arange(T)[None, :, None] * 0.5 + np.arange(F)[None, None, :]
    return np.asarray(np.sin(start + steps) + generator.normal(scale=0.1, size=(count, T, F)))


class Writer:
    """Collects the nodes and weights of a graph from x [n, T, F] to y."""

    def __init__(self, dtype: str = "float32", batch: int | str = "n") -> None:
        self.dtype, self.batch = dtype, batch
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(7)

    def random(self, *shape: int) -> str:
        return self.constant(self._random.normal(scale=0.4, size=shape).astype(self.dtype))

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """The name of the last output."""
        names = [f"{kind.lower()}{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[-1]

    def model(self, result: str, *shape: int, given: tuple[Any, ...] = (T, F)) -> bytes:
        self.nodes.append(helper.make_node("Identity", [result], ["y"]))
        kind = TYPES[self.dtype]
        inputs = [helper.make_tensor_value_info("x", kind, [self.batch, *given])]
        outputs = [helper.make_tensor_value_info("y", kind, [self.batch, *shape])]
        made = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        opset = [helper.make_opsetid("", 18)]
        return bytes(helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString())


def dense(dtype: str = "float32", batch: int | str = "n", given: tuple[Any, ...] = (T, F)) -> bytes:
    """Rebuilds the window from four numbers."""
    write = Writer(dtype, batch)
    flat = write.node("Flatten", "x", axis=1)
    code = write.node("Tanh", write.node("Gemm", flat, write.random(T * F, HIDDEN), write.random(HIDDEN)))
    wide = write.node("Gemm", code, write.random(HIDDEN, T * F), write.random(T * F))
    return write.model(write.node("Reshape", wide, write.constant(np.array([-1, T, F]))), T, F, given=given)


def convolution(dtype: str = "float32", batch: int | str = "n", given: tuple[Any, ...] = (T, F)) -> bytes:
    """Rebuilds the window through two convolutions along time."""
    write = Writer(dtype, batch)
    channels = write.node("Transpose", "x", perm=[0, 2, 1])
    inner = write.node("Relu", write.node("Conv", channels, write.random(HIDDEN, F, 3), write.random(HIDDEN), pads=[1, 1]))
    outer = write.node("Conv", inner, write.random(F, HIDDEN, 3), write.random(F), pads=[1, 1])
    return write.model(write.node("Transpose", outer, perm=[0, 2, 1]), T, F, given=given)


def recurrent(
    dtype: str = "float32", batch: int | str = "n", given: tuple[Any, ...] = (T, F), classes: int = 1, state: int = 0
) -> bytes:
    """An LSTM over the window; of its last state a score, or with several classes their probabilities.

    `state`: the initial state is a constant of so many rows.
    """
    write = Writer(dtype, batch)
    sequence = write.node("Transpose", "x", perm=[1, 0, 2])
    parts = (write.random(1, 4 * HIDDEN, F), write.random(1, 4 * HIDDEN, HIDDEN), write.random(1, 8 * HIDDEN))
    zeros = ("", *[write.constant(np.zeros((1, state, HIDDEN), dtype)) for _ in range(2)]) if state else ()
    last = write.node("LSTM", sequence, *parts, *zeros, outputs=2, hidden_size=HIDDEN)
    final = write.node("Squeeze", last, write.constant(np.array([0])))
    scores = write.node("Gemm", final, write.random(HIDDEN, classes), write.random(classes))
    return write.model(write.node("Softmax", scores, axis=1) if classes > 1 else scores, classes, given=given)
