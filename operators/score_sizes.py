"""How many readings of a frame fit into one message of `scores` or `features`."""

from __future__ import annotations

import numpy as np

from swapstream.operators.frame import Frame, Int64
from swapstream.operators.scored import RoleScores, Scored

MAX_BYTES = 512 * 1024
ROW_BYTES = 28
"""Of a reading, but for its scores and its device's name."""
ROLE_BYTES = 170
"""Of a role, but for its scores and its model's name."""


def score_parts(scored: Scored, rows: Int64) -> list[Int64]:
    """Rows in runs whose messages stay under about MAX_BYTES, whatever their roles say."""
    heads = sum(map(head, scored.roles))
    if all(len(role.rows) == len(scored.frame) for role in scored.roles):
        return parts(scored.frame, rows, ROW_BYTES + sum(map(cell, scored.roles)), heads)
    shared = heads < MAX_BYTES // 2  # else no message may have them all, and each reading is taken to bring its own
    widths = np.full(len(scored.frame), ROW_BYTES)
    for role in scored.roles:
        widths[role.rows] += cell(role) + (0 if shared else head(role))
    return parts(scored.frame, rows, widths, heads if shared else 0)


def parts(frame: Frame, rows: Int64, width: int | Int64, heads: int = 0) -> list[Int64]:
    """Rows in runs whose message stays under MAX_BYTES: `width` bytes a row, or int64[n] for each of the frame's, its device's
    name, and `heads` bytes a message."""
    if not len(rows):
        return []
    names, codes = frame.by_device()
    lengths = np.fromiter(map(len, names), np.int64, len(names))
    room = MAX_BYTES - heads - 4 * int(lengths.sum())
    every_name = room > MAX_BYTES // 2  # every message may name every device
    if every_name and isinstance(width, int):
        return np.split(rows, range(most := max(1, room // width), len(rows), most))
    sizes = np.broadcast_to(width, len(frame))[rows]
    if not every_name:
        sizes, room = sizes + 4 * lengths[codes[rows]], MAX_BYTES - heads
    return np.split(rows, np.flatnonzero(np.diff(np.cumsum(sizes) // room)) + 1)


def cell(role: RoleScores) -> int:
    """Bytes that a reading of the role takes at most."""
    return 12 + max((8 + 4 * len(reason) for reason in role.errors.values()), default=0)


def head(role: RoleScores) -> int:
    """Bytes of what is said of a role once a message."""
    return ROLE_BYTES + len(role.model.name)
