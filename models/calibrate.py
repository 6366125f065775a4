"""Thresholds from an alarm rate."""

from __future__ import annotations

import math

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.errors import InvalidSettings

ALARM_RATE = 0.001


def threshold(scores: Float64, alarm_rate: float = ALARM_RATE) -> float:
    """The smallest threshold that at most this share of `scores` exceeds (decisions are score > threshold).

    >>> threshold(np.arange(1.0, 101.0), alarm_rate=0.05)
    95.0
    """
    if not 0 <= alarm_rate < 1:
        raise InvalidSettings(f"alarm rate is {alarm_rate}; allowed: 0 up to, but not, 1")
    if not len(scores) or not np.isfinite(scores).all():
        bad = int(np.count_nonzero(~np.isfinite(scores)))
        raise InvalidSettings(f"cannot calibrate a threshold: {bad} of {len(scores)} training scores are not finite")
    # 0.29 * 100 is 28.999999999999996
    allowed = math.floor(alarm_rate * len(scores) + 1e-9)
    return float(np.sort(scores)[len(scores) - 1 - allowed])
