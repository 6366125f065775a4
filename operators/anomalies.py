"""Anomalies: one JSON message each, keyed by device, with all that a person needs to look into it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np

from swapstream.models.contributions import parts
from swapstream.operators.pipeline import LoadedInput, LoadedModel, Scored
from swapstream.operators.scores import Provenance

VERSION = 2
CONTRIBUTIONS = 3


class Anomaly(msgspec.Struct, frozen=True):
    """`time` is event time in microseconds, `at` the same for people. `contributions`: the features that contributed most, as
    the score less the score with that feature at its reference median, largest first; only what made the score higher. Of a
    model over windows the fields, each over its whole window. `index`: the reading's place in its message.
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
    v: int = VERSION

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def anomalies(scored: Scored, part: LoadedInput, provenance: Provenance) -> Iterator[Anomaly]:
    """The anomalies of a frame, route by route, in offset order within a route."""
    for role in scored.roles:
        if role.role != "champion":
            continue
        places = np.flatnonzero(scored.anomalous[role.rows])
        if not len(places):
            continue
        rows = role.rows[places]
        champion = part.champion_of(scored.frame.devices[rows[0]])
        assert champion is not None
        shares = champion_shares(champion, scored, [int(row) for row in rows])
        for row, score, share in zip(rows.tolist(), role.scores[places].tolist(), shares, strict=True):
            yield anomaly(scored, row, score, share, champion, part, provenance)


def champion_shares(champion: LoadedModel, scored: Scored, rows: list[int]) -> list[dict[str, float]]:
    """For each row the features that contributed most; none where the model fails on what is put in their place."""
    names = parts(champion.artifact.manifest)
    try:
        found = champion.contributions(scored.features[rows])
    except Exception:  # the anomaly is told all the same
        return [{} for _ in rows]
    order = np.argsort(-found, axis=1, kind="stable")[:, :CONTRIBUTIONS]
    return [{names[j]: float(found[i, j]) for j in order[i] if 0 < found[i, j] < np.inf} for i in range(len(rows))]


def anomaly(
    scored: Scored,
    row: int,
    score: float,
    share: dict[str, float],
    champion: LoadedModel,
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
        champion.threshold,
        values,
        share,
        champion.pin.name,
        champion.pin.digest,
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
    )


def iso(micros: int) -> str:
    """Event time as ISO 8601 in UTC; times beyond the calendar as plain microseconds."""
    try:
        return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{micros}us"
