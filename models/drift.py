"""Whether scores still lie as they did in training."""

from __future__ import annotations

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.manifest import Distribution
from swapstream.models.statistics import shares

LIMIT = 0.25
"""Above this scores are said to have shifted, from 0.1 on somewhat: Siddiqi, Credit Risk Scorecards (Wiley, 2006)."""
FLOOR = 1e-4
"""What an empty part counts as, so that its logarithm exists."""


def stability(reference: Distribution, scores: Float64) -> float:
    """The population stability index of scores against a distribution: the sum of (now - then) ln(now / then) over its parts.

    0 for the same shares, greater the more they differ; it is the symmetric Kullback-Leibler divergence of the two (Jeffreys, 1946).
    Scores that are not finite don't count. Without any it is 0.

    >>> round(stability(Distribution((1.0,), (0.5, 0.5)), np.array([0.0, 2.0, 2.0, 2.0])), 4)
    0.2747
    """
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return 0.0
    then = np.maximum(np.array(reference.shares), FLOOR)
    now = np.maximum(shares(np.array(reference.edges), finite), FLOOR)
    return float(((now - then) * np.log(now / then)).sum())
