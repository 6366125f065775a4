"""Golden vectors: the rows that every shard scores again before it trusts a model."""

from __future__ import annotations

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import MAX_GOLDEN

EXTREMES = 16
MAX_CELLS = 2**17  # of all golden rows, 1 MB: windows can be wide
FEWEST = 8


def choose(rows: Float64, scores: Float64, seed: int) -> Float64:
    """At most 64 of `rows`, fewer wide ones: highest scores, largest and smallest of the first features, the rest drawn."""
    ranked = np.argsort(-scores, kind="stable")[:EXTREMES]
    columns = rows[:, : EXTREMES // 2]
    edges = np.concatenate([columns.argmin(axis=0), columns.argmax(axis=0)])
    drawn = np.random.default_rng(seed).permutation(len(rows))
    order = np.concatenate([ranked, edges, drawn])
    count = min(MAX_GOLDEN, max(FEWEST, MAX_CELLS // rows.shape[1]))
    _, first = np.unique(order, return_index=True)
    chosen: Float64 = rows[np.sort(order[np.sort(first)][:count])]
    return chosen
