"""Do a model's bits depend on batching? (DESIGN, C6)"""

from __future__ import annotations

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.blocks import BLOCK
from swapstream.models.kinds.base import Scorer

ROUNDS = 8


def divergence(scorer: Scorer, rows: Float64, seed: int = 0) -> int | None:
    """The first row whose score changes its bits when rows come one by one, in random splits, or shifted; else None.

    A sample, not a proof: ROUNDS random splits and shifts.
    """
    whole = scorer.score(rows).view(np.int64)
    generator = np.random.default_rng(seed)
    tries = [np.concatenate([scorer.score(rows[i : i + 1]) for i in range(len(rows))])]
    for _ in range(ROUNDS):
        tries.append(_split(scorer, rows, generator))
        tries.append(_shifted(scorer, rows, int(generator.integers(1, BLOCK))))
    for scores in tries:
        if differs := np.flatnonzero(scores.view(np.int64) != whole).tolist():
            return int(differs[0])
    return None


def _split(scorer: Scorer, rows: Float64, generator: np.random.Generator) -> Float64:
    cuts = np.sort(generator.integers(0, len(rows) + 1, size=3))
    parts = [part for part in np.split(rows, cuts) if len(part)]
    return np.concatenate([scorer.score(part) for part in parts])


def _shifted(scorer: Scorer, rows: Float64, shift: int) -> Float64:
    """The rows after `shift` others: each in another place of its block, beside other neighbours."""
    before = np.resize(rows[::-1], (shift, rows.shape[1]))
    return scorer.score(np.concatenate([before, rows]))[shift:]
