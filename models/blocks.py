"""Blocks: rows are scored in zero-padded blocks of 64, so that a score's bits don't depend on which rows came along.

A matrix product picks its kernel by shape, and kernels round differently; with one shape there is one kernel (DESIGN, C6).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from swapstream.models.arrays import Float64

BLOCK = 64
CHUNK = 16  # blocks at a time: 1,024 rows of 25 features stay in the second-level cache


def padded(rows: Float64, size: int = BLOCK) -> Float64:
    """float64[b, size, F]: the rows in order, zeros after the last."""
    count, width = rows.shape
    blocks = -(-count // size)
    whole = np.zeros((blocks * size, width))
    whole[:count] = rows
    return whole.reshape(blocks, size, width)


def in_blocks(rows: Float64, compute: Callable[[Float64], Float64]) -> Float64:
    """Scores float64[n] of rows float64[n, F]: `compute` maps blocks float64[b, 64, F] to float64[b, 64], block by block alike."""
    blocks = padded(rows)
    scores = np.empty(blocks.shape[:2])
    for start in range(0, len(blocks), CHUNK):
        scores[start : start + CHUNK] = compute(blocks[start : start + CHUNK])
    return scores.reshape(-1)[: len(rows)].copy()
