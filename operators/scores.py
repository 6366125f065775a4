"""The wire format of `scores`, and of `features` where no champion answers: columnar msgpack frames of consecutive records.

Arrays are raw little-endian bytes. `first`, `last` and `prev` are source offsets: of this frame's first and last record and of
the last record in the shard's frame before (-1 in the first), so that a reader can tell a gap from a hole and drop repeats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.pipeline import RoleScores, Scored
from swapstream.operators.wire import read

VERSION = 1
MAX_BYTES = 512 * 1024


class RoleColumns(msgspec.Struct, frozen=True):
    """One model's scores: `rows` are <i4 places in the frame (empty: all of them), `scores` <f8, NaN where the model
    failed; `errors` maps the places of those scores to the reason."""

    role: str
    model: str
    digest: str
    threshold: float
    rows: bytes
    scores: bytes
    errors: dict[int, str] = {}


class Provenance(msgspec.Struct, frozen=True):
    """What decided a score, the same for every record of a frame. `plan` and `extractor` are names, digests stand beside them."""

    namespace: str
    deployment: str
    topic: str
    partition: int
    epoch: int
    plan: str
    plan_digest: str
    extractor: str


class ScoresFrame(msgspec.Struct, frozen=True):
    """n records: `offsets` <i8, `times` <i8 event time in microseconds, `device` <i4 into `devices`, `warming`, `anomalous` one
    byte each. `features` are <f8 [n, len(feature_names)], only on the `features` topic.
    """

    provenance: Provenance
    first: int
    last: int
    prev: int
    offsets: bytes
    times: bytes
    devices: list[str]
    device: bytes
    warming: bytes
    anomalous: bytes
    roles: list[RoleColumns]
    feature_names: tuple[str, ...] = ()
    features: bytes = b""
    v: int = VERSION

    def __len__(self) -> int:
        return len(self.offsets) // 8

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    def column(self, name: str) -> Int64:
        """`offsets` or `times` as int64[n]."""
        return np.frombuffer(getattr(self, name), "<i8")

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dictionary for each record and role, in offset order within a role."""
        offsets, times = self.column("offsets").tolist(), self.column("times").tolist()
        names = [self.devices[i] for i in np.frombuffer(self.device, "<i4")]
        shared = msgspec.structs.asdict(self.provenance)
        for role in self.roles:
            places = np.frombuffer(role.rows, "<i4").tolist() if role.rows else range(len(self))
            found = np.frombuffer(role.scores, "<f8").tolist()
            for place, (row, score) in enumerate(zip(places, found, strict=True)):
                error = role.errors.get(place)
                yield {
                    **shared,
                    "offset": offsets[row],
                    "time": times[row],
                    "device": names[row],
                    "role": role.role,
                    "model": role.model,
                    "digest": role.digest,
                    "score": None if error else score,
                    "threshold": role.threshold,
                    "error": error,
                    "warming": bool(self.warming[row]),
                    "anomalous": role.role == "champion" and bool(self.anomalous[row]),
                }


def decode_scores(value: bytes) -> ScoresFrame:
    """Read a message of `scores` or `features`. Raises InvalidDefinition."""
    frame = read(value, ScoresFrame, InvalidDefinition, "a frame of scores")
    if frame.v != VERSION:
        raise InvalidDefinition(f"frame of scores of version {frame.v}: this release reads version {VERSION}")
    return frame


def scores_frames(scored: Scored, provenance: Provenance, prev: int) -> Iterator[ScoresFrame]:
    """The records of a frame that some model scored, in frames of at most about MAX_BYTES."""
    answered = np.zeros(len(scored.frame), dtype=bool)
    for role in scored.roles:
        answered[role.rows] = True
    width = 24 + sum(12 + error_width(role) for role in scored.roles)
    for rows in parts(scored.frame, np.flatnonzero(answered), width):
        yield columns(scored, rows, provenance, prev, [c for role in scored.roles if (c := role_columns(role, rows))])
        prev = int(scored.frame.offsets[rows[-1]])


def error_width(role: RoleScores) -> int:
    """Bytes that an error of the role takes at most."""
    return max((8 + 4 * len(reason) for reason in role.errors.values()), default=0)


def features_frames(scored: Scored, names: tuple[str, ...], provenance: Provenance, prev: int) -> Iterator[ScoresFrame]:
    """The records of a frame for which the plan names no model, with their features."""
    silent = np.ones(len(scored.frame), dtype=bool)
    for role in scored.roles:
        silent[role.rows] = False
    for rows in parts(scored.frame, np.flatnonzero(silent), 24 + 8 * len(names)):
        frame = columns(scored, rows, provenance, prev, [])
        yield msgspec.structs.replace(frame, feature_names=names, features=raw(scored.features[rows], "<f8"))
        prev = int(scored.frame.offsets[rows[-1]])


def parts(frame: Frame, rows: Int64, width: int) -> list[Int64]:
    """Rows in runs whose message stays under MAX_BYTES: `width` bytes a row and its device's name."""
    if not len(rows):
        return []
    names = map(frame.devices.__getitem__, rows.tolist())
    sizes = width + 4 * np.fromiter(map(len, names), dtype=np.int64, count=len(rows))
    return np.split(rows, np.flatnonzero(np.diff(np.cumsum(sizes) // MAX_BYTES)) + 1)


def columns(scored: Scored, rows: Int64, provenance: Provenance, prev: int, roles: list[RoleColumns]) -> ScoresFrame:
    """Some rows of a frame as they go on the wire."""
    frame = scored.frame
    offsets = frame.offsets[rows]
    names = [frame.devices[i] for i in rows.tolist()]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    places = np.fromiter(map(index.__getitem__, names), dtype="<i4", count=len(names))
    return ScoresFrame(
        provenance,
        int(offsets[0]),
        int(offsets[-1]),
        prev,
        raw(offsets, "<i8"),
        raw(frame.times[rows], "<i8"),
        list(index),
        places.tobytes(),
        raw(scored.warming[rows], "u1"),
        raw(scored.anomalous[rows], "u1"),
        roles,
    )


def role_columns(role: RoleScores, rows: Int64) -> RoleColumns | None:
    """A role's part of some rows of the frame; None where it has no record among them."""
    mine = np.isin(role.rows, rows, assume_unique=True)
    if not mine.any():
        return None
    taken = role.rows[mine]
    places = b"" if len(taken) == len(rows) else np.searchsorted(rows, taken).astype("<i4").tobytes()
    errors = {}
    if role.errors:
        moved = np.cumsum(mine) - 1
        errors = {int(moved[place]): reason for place, reason in role.errors.items() if mine[place]}
    return RoleColumns(
        role.role, role.model.name, role.model.digest, role.threshold, places, raw(role.scores[mine], "<f8"), errors
    )


def raw(array: Int64 | Float64 | Bool, dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()
