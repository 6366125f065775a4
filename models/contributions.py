"""Which features made a score high."""

from __future__ import annotations

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.kinds.base import Scorer
from swapstream.models.manifest import Reference

MAX_CELLS = 2**21  # of the perturbed rows held at a time: 16 MB


def contributions(scorer: Scorer, rows: Float64, reference: Reference) -> Float64:
    """float64[k, F] for rows float64[k, F]: the score minus the score with feature j at its reference median.

    One feature at a time (an occlusion): features that only together make a row unusual show little each. F + 1 scores
    a row, so meant for anomalies only. Bits don't depend on which rows come together, as the scorer's don't.
    """
    count, width = rows.shape
    step = max(1, MAX_CELLS // (width * width))
    parts = [_perturbed(scorer, rows[start : start + step], reference) for start in range(0, count, step)]
    with np.errstate(all="ignore"):
        found: Float64 = scorer.score(rows)[:, None] - np.concatenate([np.empty((0, width)), *parts])
    return found


def _perturbed(scorer: Scorer, rows: Float64, reference: Reference) -> Float64:
    count, width = rows.shape
    perturbed = np.repeat(rows, width, axis=0).reshape(count, width, width)
    diagonal = np.arange(width)
    perturbed[:, diagonal, diagonal] = reference.median
    return scorer.score(perturbed.reshape(-1, width)).reshape(count, width)
