"""Statistics of training rows."""

from __future__ import annotations

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.manifest import Distribution, Reference

PARTS = 10
ENOUGH = 100
"""Scores, below which their distribution says little."""


def moments(rows: Float64) -> tuple[Float64, Float64]:
    """Mean and population standard deviation of each column; 1 for a column that is constant up to rounding.

    The rule for "constant" is scikit-learn's (StandardScaler): variance <= n eps variance + (n mean eps)^2.
    """
    mean: Float64 = rows.mean(axis=0)
    variance: Float64 = rows.var(axis=0)
    eps, count = np.finfo(np.float64).eps, len(rows)
    constant = variance <= count * eps * variance + (count * mean * eps) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def reference(rows: Float64, scores: Float64) -> Reference:
    """Median, mean and standard deviation of each column, and how the rows' scores lie, as the manifest keeps them."""
    return Reference(
        median=tuple(np.median(rows, axis=0).tolist()),
        mean=tuple(rows.mean(axis=0).tolist()),
        deviation=tuple(rows.std(axis=0).tolist()),
        scores=distribution(scores),
    )


def distribution(scores: Float64) -> Distribution | None:
    """Tenths of the scores that are finite; fewer parts where many are the same. None for fewer than ENOUGH.

    >>> distribution(np.arange(1.0, 201.0)).edges
    (20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0)
    """
    finite = scores[np.isfinite(scores)]
    if len(finite) < ENOUGH:
        return None
    edges = np.unique(np.quantile(finite, np.arange(1, PARTS) / PARTS, method="inverted_cdf"))
    return Distribution(tuple(edges.tolist()), tuple(shares(edges, finite).tolist()))


def shares(edges: Float64, scores: Float64) -> Float64:
    """The share of some finite scores in each part of a distribution with these edges."""
    counts = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(edges) + 1)
    return np.asarray(counts / len(scores))
