"""Double-precision ONNX of estimators that skl2onnx converts to float32 only, wrongly, or not at all.

An outlier detector yields `label` (int64) and `scores` (double, scikit-learn's decision_function), as from skl2onnx itself.
In float32 a decision_function near zero, which is where decisions are made, has few digits left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swapstream.models.converters.envelope import elliptic_envelope
from swapstream.models.converters.forest import isolation_forest
from swapstream.models.converters.network import mlp_regressor
from swapstream.models.converters.svm import one_class_svm

Converter = Callable[[Any, Any, Any], None]


def functions() -> dict[type, Converter]:
    """Converters by estimator type, for skl2onnx's `custom_conversion_functions`."""
    from sklearn.covariance import EllipticEnvelope
    from sklearn.ensemble import IsolationForest
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import OneClassSVM

    return {
        IsolationForest: isolation_forest,
        OneClassSVM: one_class_svm,
        EllipticEnvelope: elliptic_envelope,
        MLPRegressor: mlp_regressor,
    }


def shapes() -> dict[type, Callable[[Any], None]]:
    """Shape calculators for the same types."""
    return dict.fromkeys(functions(), _shape)


def _shape(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType

    if len(operator.outputs) == 2:
        operator.outputs[0].type = Int64TensorType([None, 1])
    operator.outputs[-1].type = DoubleTensorType([None, getattr(operator.raw_operator, "n_outputs_", 1)])
