"""Scores beside readings: both come in the log's order, so that neither has to be in memory all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
import numpy as np

from swapstream.operators.batches import Batch
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.scored import DECIDING
from swapstream.operators.scores import ScoresFrame
from swapstream.scripts.exports import Answers, Names, unscored

READINGS = 2**22
"""More than one message can hold."""


class Verdicts(msgspec.Struct, frozen=True):
    """What the deciding models said of a frame's readings; NaN where none did."""

    offsets: Int64
    index: Int64
    scores: Float64
    thresholds: Float64
    models: Names
    anomalous: Bool


def verdicts(frame: ScoresFrame) -> Verdicts:
    """Of each reading the champion's answer, or, where that failed, that of the model which answers for it."""
    n = len(frame)
    scores, thresholds, models = np.full(n, np.nan), np.full(n, np.nan), np.full(n, "", np.object_)
    for role in (role for role in frame.roles if role.role in DECIDING):
        places = np.frombuffer(role.rows, "<i4") if role.rows else np.arange(n, dtype="<i4")
        found = np.frombuffer(role.scores, "<f8")
        answered = np.flatnonzero(np.isfinite(found))
        scores[places[answered]], thresholds[places[answered]] = found[answered], role.threshold
        models[places[answered]] = role.model
    offsets, index = frame.column("offsets"), frame.column("index")
    return Verdicts(offsets, index, scores, thresholds, models, np.frombuffer(frame.anomalous, "?"))


class Beside:
    """Looks answers up for batches that come in order."""

    def __init__(self, frames: Iterator[ScoresFrame]) -> None:
        self._frames = frames
        self._read: deque[Verdicts] = deque()
        self._ended = False

    def answers(self, batch: Batch) -> Answers:
        """What was said of a batch's readings."""
        if not len(batch):
            return unscored(0)
        first, last = int(batch.offsets[0]), int(batch.offsets[-1])
        self._read_up_to(last)
        while self._read and self._read[0].offsets[-1] < first:
            self._read.popleft()
        near = [one for one in self._read if one.offsets[0] <= last]
        return found_in(near, batch, first) if near else unscored(len(batch))

    def _read_up_to(self, offset: int) -> None:
        while not self._ended and (not self._read or self._read[-1].offsets[-1] <= offset):
            frame = next(self._frames, None)
            self._ended = frame is None
            if frame is not None:
                self._read.append(verdicts(frame))


def found_in(near: list[Verdicts], batch: Batch, first: int) -> Answers:
    """Some answers, none further from `first` than offsets go in a span, looked up by offset and index."""
    offsets, index, scores, thresholds, models, anomalous = (
        np.concatenate([getattr(one, name) for one in near])
        for name in ("offsets", "index", "scores", "thresholds", "models", "anomalous")
    )
    there = (offsets - first) * READINGS + index
    wanted = (batch.offsets - first) * READINGS + batch.index
    places = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
    same = there[places] == wanted
    return Answers(
        np.where(same, scores[places], np.nan), np.where(same, thresholds[places], np.nan),
        models[places], anomalous[places] & same,
    )  # fmt: skip
