"""Statistics of training rows."""

from __future__ import annotations

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.manifest import Reference


def moments(rows: Float64) -> tuple[Float64, Float64]:
    """Mean and population standard deviation of each column; 1 for a column that is constant up to rounding.

    The rule for "constant" is scikit-learn's (StandardScaler): variance <= n eps variance + (n mean eps)^2.
    """
    mean: Float64 = rows.mean(axis=0)
    variance: Float64 = rows.var(axis=0)
    eps, count = np.finfo(np.float64).eps, len(rows)
    constant = variance <= count * eps * variance + (count * mean * eps) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def reference(rows: Float64) -> Reference:
    """Median, mean and standard deviation of each column, as the manifest keeps them."""
    return Reference(
        median=tuple(np.median(rows, axis=0).tolist()),
        mean=tuple(rows.mean(axis=0).tolist()),
        deviation=tuple(rows.std(axis=0).tolist()),
    )
