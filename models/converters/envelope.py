"""EllipticEnvelope: Rousseeuw and Van Driessen, A Fast Algorithm for the Minimum Covariance Determinant Estimator, 1999."""

from __future__ import annotations

from typing import Any

from swapstream.models.converters.nodes import Nodes


def elliptic_envelope(scope: Any, operator: Any, container: Any) -> None:
    """-(x - m)' P (x - m) - offset: the negative squared Mahalanobis distance."""
    model = operator.raw_operator
    nodes = Nodes(scope, operator, container)
    centered = nodes.add("Sub", [nodes.rows, nodes.constant(model.location_)])
    turned = nodes.add("MatMul", [centered, nodes.constant(model.get_precision())])
    distance = nodes.row_sums(nodes.add("Mul", [turned, centered]), len(model.location_))
    nodes.detector(nodes.add("Sub", [nodes.add("Neg", [distance]), nodes.constant([float(model.offset_)])]))
