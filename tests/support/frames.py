"""Messages of `scores`, as small as they can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swapstream.operators.scores import Provenance, RoleColumns, ScoresFrame


def scores_frame(
    offsets: Sequence[int],
    prev: int = -1,
    deployment: str = "d",
    partition: int = 0,
    epoch: int = 0,
    model: str = "m:1",
    schema: str = "",
) -> ScoresFrame:
    """Readings of one device at these offsets, scored 0.0 by a champion whose threshold is 1.0."""
    n, packed = len(offsets), np.array(offsets, "<i8").tobytes()
    where = Provenance("prod", deployment, "telemetry", partition, epoch, "p", "d", "identity:1", schema)
    role = RoleColumns("champion", model, "digest", 1.0, b"", np.zeros(n, "<f8").tobytes())
    device = np.zeros(n, "<i4").tobytes()
    return ScoresFrame(where, offsets[0], offsets[-1], prev, packed, packed, ["a"], device, bytes(n), bytes(n), [role])
