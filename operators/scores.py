"""The wire format of `scores`, and of `features` where no champion answers or a route has a decoy: columnar msgpack frames of
consecutive records.

Arrays are raw little-endian bytes. A frame holds readings of one schema. `first`, `last` and `prev` are source offsets: of this
frame's first and last reading and of the last reading in the frame before of the same shard and schema (-1 in the first), so that
a reader can tell a gap from a hole and drop repeats. Beside each stands the reading's index in its message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.score_sizes import ROW_BYTES, parts, score_parts
from swapstream.operators.scored import DECIDING, RoleScores, Scored
from swapstream.operators.wire import check_version, read

VERSION = 2


class RoleColumns(msgspec.Struct, frozen=True):
    """One model's scores: `rows` are <i4 places in the frame (empty: all of them), `scores` <f8, NaN where the model
    failed; `errors` maps the places of those scores to the reason. Role "on_error" has the rows on which the champion failed."""

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
    schema: str = ""


class Archive(NamedTuple):
    """Which features are archived: their names, and their places among all."""

    names: tuple[str, ...]
    places: list[int] | slice


class Position(NamedTuple):
    """A reading in its partition: the message's offset, and the reading's index in it."""

    offset: int
    reading: int


BEFORE_ALL = Position(-1, 0)


class ScoresFrame(msgspec.Struct, frozen=True):
    """n readings: `offsets` <i8, `index` <i4 (empty: all 0), `times` <i8 event time in microseconds, `device` <i4 into `devices`,
    `warming`, `anomalous` one byte each. `features` are <f8 [n, len(feature_names)], only on the `features` topic.
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
    index: bytes = b""
    first_index: int = 0
    last_index: int = 0
    prev_index: int = 0
    v: int = VERSION

    def __len__(self) -> int:
        return len(self.offsets) // 8

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @property
    def end(self) -> Position:
        """Of the last reading: the next frame's `before`."""
        return Position(self.last, self.last_index)

    @property
    def before(self) -> Position:
        """Of the last reading in the frame before."""
        return Position(self.prev, self.prev_index)

    def column(self, name: Literal["offsets", "times", "index", "device"]) -> Int64:
        """As int64[n]."""
        if name == "index" and not self.index:
            return np.zeros(len(self), np.int64)
        if name in ("index", "device"):
            return np.frombuffer(getattr(self, name), "<i4").astype(np.int64)
        return np.frombuffer(getattr(self, name), "<i8")

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dictionary for each reading and role, in the log's order within a role."""
        offsets, times, index = (self.column(name).tolist() for name in ("offsets", "times", "index"))
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
                    "index": index[row],
                    "time": times[row],
                    "device": names[row],
                    "role": role.role,
                    "model": role.model,
                    "digest": role.digest,
                    "score": None if error else score,
                    "threshold": role.threshold,
                    "error": error,
                    "warming": bool(self.warming[row]),
                    "anomalous": role.role in DECIDING and error is None and bool(self.anomalous[row]),
                }


def decode_scores(value: bytes) -> ScoresFrame:
    """Read a message of `scores` or `features`. Raises InvalidDefinition."""
    frame = read(value, ScoresFrame, InvalidDefinition, "a frame of scores")
    check_version(frame.v, VERSION, InvalidDefinition, "frame of scores")
    return frame


def scores_frames(scored: Scored, provenance: Provenance, prev: Position) -> Iterator[ScoresFrame]:
    """The readings of a frame that some model scored, in frames of at most about MAX_BYTES."""
    n = len(scored.frame)
    for rows in score_parts(scored, answered(scored)):
        place = places_of(rows, n)
        roles = [found for role in scored.roles if (found := role_columns(role, rows, place, n))]
        yield columns(scored, rows, provenance, prev, roles)
        prev = position(scored.frame, rows[-1])


def features_frames(scored: Scored, archive: Archive, provenance: Provenance, prev: Position) -> Iterator[ScoresFrame]:
    """The readings of a frame for which the plan names no model, or a decoy, with the features that may be archived."""
    wanted = np.ones(len(scored.frame), dtype=bool)
    wanted[answered(scored)] = False
    wanted[scored.decoy] = True
    for rows in parts(scored.frame, np.flatnonzero(wanted), ROW_BYTES + 8 * len(archive.names)):
        frame = columns(scored, rows, provenance, prev, [])
        features = raw(scored.features[rows][:, archive.places], "<f8")
        yield msgspec.structs.replace(frame, feature_names=archive.names, features=features)
        prev = position(scored.frame, rows[-1])


def answered(scored: Scored) -> Int64:
    """The rows that some model scored, or failed on."""
    if any(len(role.rows) == len(scored.frame) for role in scored.roles):
        return np.arange(len(scored.frame))
    found = np.zeros(len(scored.frame), dtype=bool)
    for role in scored.roles:
        found[role.rows] = True
    return np.flatnonzero(found)


def position(frame: Frame, row: int) -> Position:
    return Position(int(frame.offsets[row]), int(frame.index[row]))


def columns(scored: Scored, rows: Int64, provenance: Provenance, prev: Position, roles: list[RoleColumns]) -> ScoresFrame:
    """Some rows of a frame as they go on the wire."""
    frame = scored.frame
    offsets, index = frame.offsets[rows], frame.index[rows]
    names, codes = frame.by_device()
    if len(rows) < len(frame):
        there, codes = np.unique(codes[rows], return_inverse=True)
        names = [names[code] for code in there.tolist()]
    return ScoresFrame(
        provenance,
        int(offsets[0]),
        int(offsets[-1]),
        prev.offset,
        raw(offsets, "<i8"),
        raw(frame.times[rows], "<i8"),
        names,
        raw(codes, "<i4"),
        raw(scored.warming[rows], "u1"),
        raw(scored.anomalous[rows], "u1"),
        roles,
        index=raw(index, "<i4") if index.any() else b"",
        first_index=int(index[0]),
        last_index=int(index[-1]),
        prev_index=prev.reading,
    )


def places_of(rows: Int64, n: int) -> Int64:
    """int64[n]: where among `rows` each row of a frame is, -1 for those that are not."""
    place = np.full(n, -1)
    place[rows] = np.arange(len(rows))
    return place


def role_columns(role: RoleScores, rows: Int64, place: Int64, n: int) -> RoleColumns | None:
    """A role's part of some rows of a frame of n, `place` being theirs; None where it has no reading among them."""
    # A role that has every row has each in its place.
    mine = rows if len(role.rows) == n else np.flatnonzero(place[role.rows] >= 0)
    if not len(mine):
        return None
    places = b"" if len(mine) == len(rows) else raw(place[role.rows[mine]], "<i4")
    errors = {}
    if role.errors:
        moved = {place: i for i, place in enumerate(mine.tolist())}
        errors = {moved[place]: reason for place, reason in role.errors.items() if place in moved}
    return RoleColumns(
        role.role, role.model.name, role.model.digest, role.threshold, places, raw(role.scores[mine], "<f8"), errors
    )


def raw(array: Int64 | Float64 | Bool, dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()
