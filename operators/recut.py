"""A part of an output frame as a frame: what is behind a reading that its reader has already."""

from __future__ import annotations

import msgspec
import numpy as np

from swapstream.operators.scores import Position, RoleColumns, ScoresFrame


def behind(frame: ScoresFrame, last: Position) -> ScoresFrame:
    """The readings behind `last`, at least one, chained to it."""
    offsets, index = frame.column("offsets"), frame.column("index")
    start = int(np.count_nonzero((offsets < last.offset) | ((offsets == last.offset) & (index <= last.reading))))
    return msgspec.structs.replace(
        frame,
        first=int(offsets[start]),
        first_index=int(index[start]),
        prev=last.offset,
        prev_index=last.reading,
        offsets=frame.offsets[8 * start :],
        times=frame.times[8 * start :],
        index=frame.index[4 * start :],
        device=frame.device[4 * start :],
        warming=frame.warming[start:],
        anomalous=frame.anomalous[start:],
        features=frame.features[8 * len(frame.feature_names) * start :],
        roles=[found for role in frame.roles if (found := _role_behind(role, start, len(frame)))],
    )


def _role_behind(role: RoleColumns, start: int, n: int) -> RoleColumns | None:
    """A role's part of the readings from `start` on, of n; None where it has none of them."""
    places = np.frombuffer(role.rows, "<i4") if role.rows else np.arange(n, dtype="<i4")
    kept = np.flatnonzero(places >= start)
    if not len(kept):
        return None
    moved = {place: i for i, place in enumerate(kept.tolist())} if role.errors else {}
    return msgspec.structs.replace(
        role,
        rows=(places[kept] - start).astype("<i4").tobytes() if role.rows else b"",
        scores=np.frombuffer(role.scores, "<f8")[kept].tobytes(),
        errors={moved[place]: reason for place, reason in role.errors.items() if place in moved},
    )
