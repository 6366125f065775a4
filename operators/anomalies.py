"""Anomalies: one JSON message each, keyed by device, with all that a person needs to look into it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np

from swapstream.models.errors import Unavailable
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.loaded_model import LoadedModel
from swapstream.operators.scored import DECIDING, RoleScores, Scored
from swapstream.operators.scores import Provenance

VERSION = 2
CONTRIBUTIONS = 3


class Anomaly(msgspec.Struct, frozen=True):
    """`time` is event time in microseconds, `at` the same for people. `contributions`: the features that contributed most, as
    the score less the score with that feature at its reference median, largest first; only what made the score higher. Of a
    model over windows the fields, each over its whole window. `index`: the reading's place in its message.
    `role`: who found it, the champion, or "on_error" where that failed.
    """

    device: str
    time: int
    at: str
    score: float
    threshold: float
    values: dict[str, float]
    contributions: dict[str, float]
    model: str
    digest: str
    plan: str
    plan_digest: str
    epoch: int
    extractor: str
    namespace: str
    deployment: str
    topic: str
    partition: int
    offset: int
    index: int = 0
    schema: str = ""
    role: str = "champion"
    v: int = VERSION

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def anomalies(scored: Scored, part: LoadedInput, provenance: Provenance) -> Iterator[Anomaly]:
    """The anomalies of a frame, in the log's order."""
    found = [one for role in scored.roles if role.role in DECIDING for one in of_role(scored, role, part, provenance)]
    yield from sorted(found, key=lambda one: (one.offset, one.index))


def of_role(scored: Scored, role: RoleScores, part: LoadedInput, provenance: Provenance) -> Iterator[Anomaly]:
    """The anomalies of a route that the model in a role found."""
    places = np.flatnonzero(scored.anomalous[role.rows] & np.isfinite(role.scores))
    if not len(places):
        return
    rows = role.rows[places]
    model = part.model_of(scored.frame.devices[rows[0]], role.role)
    assert model is not None
    shares = shares_of(model, scored, rows.tolist())
    for row, score, share in zip(rows.tolist(), role.scores[places].tolist(), shares, strict=True):
        yield anomaly(scored, row, score, share, model, part, provenance)


def shares_of(model: LoadedModel, scored: Scored, rows: list[int]) -> list[dict[str, float]]:
    """For each row the features that contributed most; none where the model fails on what is put in their place."""
    try:
        names, found = model.explain(scored.features[rows])
    except Unavailable:
        raise
    except Exception:  # the anomaly is told all the same
        return [{} for _ in rows]
    order = np.argsort(-found, axis=1, kind="stable")[:, :CONTRIBUTIONS]
    return [{names[j]: float(found[i, j]) for j in order[i] if 0 < found[i, j] < np.inf} for i in range(len(rows))]


def anomaly(
    scored: Scored,
    row: int,
    score: float,
    share: dict[str, float],
    model: LoadedModel,
    part: LoadedInput,
    provenance: Provenance,
) -> Anomaly:
    """One record's anomaly."""
    frame = scored.frame
    time = int(frame.times[row])
    values = dict(zip(part.schema.names, frame.values[row].tolist(), strict=True))
    return Anomaly(
        frame.devices[row],
        time,
        iso(time),
        score,
        model.threshold,
        values,
        share,
        model.pin.name,
        model.pin.digest,
        provenance.plan,
        provenance.plan_digest,
        provenance.epoch,
        provenance.extractor,
        provenance.namespace,
        provenance.deployment,
        provenance.topic,
        provenance.partition,
        int(frame.offsets[row]),
        int(frame.index[row]),
        provenance.schema,
        model.role,
    )


def iso(micros: int) -> str:
    """Event time as ISO 8601 in UTC; times beyond the calendar as plain microseconds."""
    try:
        return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{micros}us"
