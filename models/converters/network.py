"""MLPRegressor: a feed-forward network; fitted to its own input, an autoencoder."""

from __future__ import annotations

from typing import Any

from swapstream.models.converters.nodes import Nodes

ACTIVATIONS = {"identity": "Identity", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def mlp_regressor(scope: Any, operator: Any, container: Any) -> None:
    """x W_1 + b_1, activation, ..., x W_k + b_k. (skl2onnx 1.20 makes one column of several outputs.)"""
    model = operator.raw_operator
    nodes = Nodes(scope, operator, container)
    values = nodes.rows
    for layer, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        if layer:
            values = nodes.add(ACTIVATIONS[model.activation], [values])
        values = nodes.add("MatMul", [values, nodes.constant(weights)])
        values = nodes.add("Add", [values, nodes.constant(bias)])
    if model.out_activation_ != "identity":
        raise NotImplementedError(f"MLPRegressor with loss {model.loss!r}; allowed: squared_error")
    nodes.regressor(values)
