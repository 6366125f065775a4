"""Blocks: rows are scored in zero-padded blocks of 64, so that a score's bits don't depend on which rows came along.

A matrix product picks its kernel by shape, and kernels round differently; with one shape there is one kernel
(DESIGN, C6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from swapstream.models.arrays import Float64

BLOCK = 64
CHUNK = 16  # blocks at a time: 1,024 rows of 25 features stay in the second-level cache


def padded(rows: Float64, size: int = BLOCK) -> Float64:
    """float64[size, F]: at most `size` rows, and zeros after the last."""
    block = np.zeros((size, rows.shape[1]))
    block[: len(rows)] = rows
    return block


def chunks(rows: Float64, size: int = BLOCK, count: int = CHUNK) -> Iterator[Float64]:
    """float64[b, size, F], b at most `count`: the rows in order. Only the last block is copied, to pad it."""
    rows = np.ascontiguousarray(rows)
    whole = len(rows) // size * size
    step = size * count
    for start in range(0, whole, step):
        yield rows[start : min(start + step, whole)].reshape(-1, size, rows.shape[1])
    if whole < len(rows):
        yield padded(rows[whole:], size)[None]


def in_blocks(
    rows: Float64, compute: Callable[[Float64], Float64], size: int = BLOCK, count: int = CHUNK
) -> Float64:
    """Scores float64[n] of rows float64[n, F]: `compute` maps float64[b, size, F] to float64[b, size], b at most `count`,
    each block alike.

    A row that overflows gets a score that is not finite, without a warning: whoever asked looks at the scores.
    """
    with np.errstate(all="ignore"):
        scores = [compute(chunk).reshape(-1) for chunk in chunks(rows, size, count)]
    joined: Float64 = np.concatenate([np.empty(0), *scores])[: len(rows)]
    return joined
