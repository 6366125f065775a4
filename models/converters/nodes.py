"""Writing ONNX nodes into a skl2onnx conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 18
DOUBLE, INT64 = 11, 7


class Nodes:
    """Adds nodes and constants, under names that skl2onnx keeps unique. `rows` is the estimator's input."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self._scope = scope
        self._container = container
        self._outputs = [variable.full_name for variable in operator.outputs]
        self.rows: str = operator.inputs[0].full_name

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        output: str = self._scope.get_unique_variable_name(kind.lower())
        self._node(kind, inputs, output, attributes)
        return output

    def constant(self, values: Any) -> str:
        """A double tensor."""
        return self._initializer(DOUBLE, np.asarray(values, np.float64))

    def integers(self, values: list[int]) -> str:
        """An int64 vector."""
        return self._initializer(INT64, np.asarray(values, np.int64))

    def row_sums(self, matrix: str, width: int) -> str:
        """[n, width] to [n, 1]. ReduceSum rounds by where a row lies in memory, so not always alike; a product does not."""
        return self.add("MatMul", [matrix, self.constant(np.ones((width, 1)))])

    def detector(self, scores: str) -> None:
        """The outputs of an outlier detector: label is 1 where the score is at least 0, else -1."""
        label, output = self._outputs
        self._node("Identity", [scores], output, {})
        below = self.add("Less", [scores, self.constant([0.0])])
        self._node("Where", [below, self.integers([-1]), self.integers([1])], label, {})

    def regressor(self, values: str) -> None:
        """The output of a regressor."""
        self._node("Identity", [values], self._outputs[0], {})

    def _node(self, kind: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> None:
        attributes = {"op_version": OPSET, "name": self._scope.get_unique_operator_name(kind), **attributes}
        self._container.add_node(kind, inputs, output, **attributes)

    def _initializer(self, kind: int, values: NDArray[Any]) -> str:
        name: str = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, list(values.shape), values.ravel().tolist())
        return name
