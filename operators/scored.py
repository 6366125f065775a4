"""What a plan's models say of a frame."""

from __future__ import annotations

import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.plan import Pin

DECIDING = ("champion", "on_error")
"""Roles that raise alarms: of a reading the champion, and where that failed the model that answers for it."""

NO_ROWS: Int64 = np.zeros(0, np.int64)


class RoleScores(msgspec.Struct, frozen=True):
    """What one model said of the rows of its route: `rows` int64[m] into the frame, `scores` float64[m], NaN where it failed.

    `errors` maps the places (0 to m-1) of rows on which the model failed to the reason. A model of role "on_error" is asked about
    the rows only on which the champion failed.
    """

    role: str
    model: Pin
    rows: Int64
    scores: Float64
    threshold: float
    errors: dict[int, str] = {}


class Scored(msgspec.Struct, frozen=True):
    """A frame with its features [n, K], who is warming up, every role's scores, and the verdict of those that decide.

    `decoy`: the rows whose features are archived although a model is asked about them.
    """

    frame: Frame
    features: Float64
    warming: Bool
    roles: list[RoleScores]
    anomalous: Bool
    decoy: Int64 = NO_ROWS
