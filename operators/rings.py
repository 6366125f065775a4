"""Rings: a device's last readings, so many of them that its ring holds; reading number i stands in cell i modulo its depth."""

from __future__ import annotations

import numpy as np

from swapstream.operators.frame import Float64, Int64


def newest(array: Float64, slots: Int64, counts: Float64, fresh: Int64, depth: int) -> Float64:
    """The newest readings in a ring of each slot, oldest first."""
    many = np.minimum(fresh, depth)
    numbers = _numbers(counts[:, 0].astype(np.int64), many)
    cells: Float64 = array[np.repeat(slots, many), numbers % depth]
    return cells


def fill(array: Float64, slots: Int64, cells: Float64, counts: Int64, fresh: Int64) -> None:
    """Put the newest readings of each row where they belong; the first of all fills the cells not reached."""
    depth = array.shape[1]
    many = np.minimum(fresh, depth)
    new = np.flatnonzero((fresh == counts) & (many > 0))
    array[slots[new]] = cells[(np.cumsum(many) - many)[new], None]
    array[np.repeat(slots, many), _numbers(counts, many) % depth] = cells


def _numbers(counts: Int64, many: Int64) -> Int64:
    """Of rows with `counts` readings the numbers of the last `many`, one after the other."""
    ends = np.cumsum(many)
    numbers: Int64 = np.repeat(counts - ends, many) + np.arange(ends[-1] if len(ends) else 0)
    return numbers
