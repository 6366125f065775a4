"""OneClassSVM: Schoelkopf et al., Estimating the Support of a High-Dimensional Distribution, 2001."""

from __future__ import annotations

from typing import Any

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.converters.nodes import Nodes


def one_class_svm(scope: Any, operator: Any, container: Any) -> None:
    """sum_i a_i K(s_i, x) + b, with K rbf, linear, poly or sigmoid."""
    model = operator.raw_operator
    nodes = Nodes(scope, operator, container)
    support = np.asarray(model.support_vectors_, np.float64)
    kernel = {"rbf": _rbf, "linear": _linear, "poly": _poly, "sigmoid": _sigmoid}.get(model.kernel)
    if kernel is None:
        raise NotImplementedError(f"kernel {model.kernel!r}; allowed: rbf, linear, poly, sigmoid")
    coefficients = nodes.constant(np.asarray(model.dual_coef_, np.float64).T)
    total = nodes.add("MatMul", [kernel(nodes, support, model), coefficients])
    nodes.detector(nodes.add("Add", [total, nodes.constant(model.intercept_)]))


def _rbf(nodes: Nodes, support: Float64, model: Any) -> str:
    """exp(-g |x - s|^2) as |x|^2 - 2 x s + |s|^2 around the mean of s: without that, large offsets would cancel all digits."""
    center = support.mean(axis=0)
    moved = support - center
    centered = nodes.add("Sub", [nodes.rows, nodes.constant(center)])
    norms = nodes.row_sums(nodes.add("Mul", [centered, centered]), support.shape[1])
    products = nodes.add("MatMul", [centered, nodes.constant(-2.0 * moved.T)])
    distances = nodes.add("Add", [nodes.add("Add", [products, norms]), nodes.constant(np.square(moved).sum(axis=1))])
    return nodes.add("Exp", [nodes.add("Mul", [distances, nodes.constant([-float(model._gamma)])])])


def _linear(nodes: Nodes, support: Float64, model: Any) -> str:
    return nodes.add("MatMul", [nodes.rows, nodes.constant(support.T)])


def _poly(nodes: Nodes, support: Float64, model: Any) -> str:
    return nodes.add("Pow", [_scaled(nodes, support, model), nodes.constant([float(model.degree)])])


def _sigmoid(nodes: Nodes, support: Float64, model: Any) -> str:
    return nodes.add("Tanh", [_scaled(nodes, support, model)])


def _scaled(nodes: Nodes, support: Float64, model: Any) -> str:
    products = _linear(nodes, support * float(model._gamma), model)
    return nodes.add("Add", [products, nodes.constant([float(model.coef0)])])
