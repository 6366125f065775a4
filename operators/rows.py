"""What a deployment has put out, reading by reading: messages of `scores`, `features`, `anomalies` and `dead_letters` as rows.

However records were cut into frames, they give the same rows. Both sides of a comparison come through here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.anomalies import Anomaly
from swapstream.operators.dead_letters import VERSION, DeadLetter, decode_dead_letter
from swapstream.operators.outputs import Role
from swapstream.operators.scored import DECIDING
from swapstream.operators.scores import Provenance, RoleColumns, ScoresFrame, decode_scores

Table = np.ndarray[Any, np.dtype[Any]]
Objects = np.ndarray[Any, np.dtype[np.object_]]

KEY = ("offset", "index", "slot")
CONTENT = ("time", "device", "about", "score", "error", "warming", "anomalous")
ROW = np.dtype([
    ("offset", "<i8"), ("index", "<i4"), ("slot", "<i4"),
    ("time", "<i8"), ("device", "<i4"), ("about", "<i4"), ("score", "<u8"), ("error", "<i4"), ("warming", "u1"), ("anomalous", "u1"),
])  # fmt: skip
"""Of one reading's row: where it belongs, and what it says. `score` are a float's bits; the <i4 are numbers of a `Names`."""
WHOLE_MESSAGE = -1
"""The index of a dead letter that is of all of a message."""
HEX = 64


class Slot(NamedTuple):
    """Which of a reading's rows: its topic's role, the model's role, and of several models in that role which."""

    topic: Role
    role: str = ""
    number: int = 0

    def __str__(self) -> str:
        return self.topic + (f" ({self.role}{f' {self.number + 1}' if self.number else ''})" if self.role else "")


class About(msgspec.Struct, frozen=True):
    """What many rows share: what decided them, and the model or the features."""

    provenance: Provenance | None = None
    role: str = ""
    model: str = ""
    digest: str = ""
    threshold: float = 0.0
    feature_names: tuple[str, ...] = ()


class Rows(NamedTuple):
    """n rows, and beside each the bytes that are compared as they are: of its features, its anomaly, its dead letter."""

    table: Table
    blobs: Objects

    def __len__(self) -> int:
        return len(self.table)

    def where(self, chosen: Any) -> Rows:
        return Rows(self.table[chosen], self.blobs[chosen])


NONE = Rows(np.zeros(0, ROW), np.zeros(0, np.object_))


class Message(NamedTuple):
    """A message of one of the topics, decoded."""

    role: Role
    value: bytes
    content: ScoresFrame | Anomaly | DeadLetter


class Origin(NamedTuple):
    """Whose output a message is; a dead letter of an older version names no deployment."""

    namespace: str
    deployment: str
    topic: str
    partition: int


def read_message(role: Role, value: bytes) -> Message:
    """Raises InvalidDefinition."""
    if role == "anomalies":
        try:
            return Message(role, value, msgspec.json.decode(value, type=Anomaly))
        except msgspec.DecodeError as error:
            raise InvalidDefinition(f"not an anomaly: {error}") from error
    return Message(role, value, decode_dead_letter(value) if role == "dead_letters" else decode_scores(value))


WHOSE = {"v": VERSION, "namespace": "", "deployment": ""}
"""In what versions of dead letters differ."""


def blob_of(message: Message) -> bytes:
    """What is compared of an anomaly or a dead letter: all of it, but for what versions differ in."""
    content = message.content
    return msgspec.structs.replace(content, **WHOSE).encode() if isinstance(content, DeadLetter) else message.value


def origin(message: Message) -> Origin:
    content = message.content
    if isinstance(content, DeadLetter):
        return Origin(content.namespace, content.deployment, content.topic, content.partition)
    found = content.provenance if isinstance(content, ScoresFrame) else content
    return Origin(found.namespace, found.deployment, found.topic, found.partition)


def first_offset(message: Message) -> int:
    return message.content.first if isinstance(message.content, ScoresFrame) else message.content.offset


class Names:
    """Numbers for things, so that they can be compared as columns."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._things: list[Any] = []

    def number(self, thing: Hashable) -> int:
        found = self._numbers.setdefault(thing, len(self._things))
        if found == len(self._things):
            self._things.append(thing)
        return found

    def numbers(self, things: Sequence[Hashable]) -> list[int]:
        """Of each. Mostly all are known, which then costs no call."""
        found = list(map(self._numbers.get, things))
        return [self.number(thing) for thing in things] if None in found else found  # type: ignore[return-value]

    def __getitem__(self, number: int) -> Any:
        return self._things[number]


class Reader:
    """Messages to rows, and a row back to what a person reads."""

    def __init__(self) -> None:
        self.slots, self.abouts = Names(), Names()
        self._devices, self._errors = Names(), Names()
        self._errors.number("")

    def rows(self, messages: Sequence[Message]) -> Rows:
        """Of all of them at once: an array for each anomaly would cost more than computing it."""
        frames = [message for message in messages if isinstance(message.content, ScoresFrame)]
        found = [self._singles([message for message in messages if not isinstance(message.content, ScoresFrame)])]
        for role, _, frame in frames:
            assert isinstance(frame, ScoresFrame)
            found.append(self._features(frame) if role == "features" else self._scores(frame))
        return joined([rows for rows in found if len(rows)])

    def _singles(self, messages: Sequence[Message]) -> Rows:
        """Of anomalies and dead letters, one reading each."""
        table = np.zeros(len(messages), ROW)
        contents = [message.content for message in messages]
        table["offset"] = [content.offset for content in contents]  # type: ignore[union-attr]
        indexes = [content.index for content in contents]  # type: ignore[union-attr]
        table["index"] = [WHOLE_MESSAGE if index is None else index for index in indexes]
        table["slot"] = [self.slots.number(Slot(message.role)) for message in messages]
        table["about"] = self.abouts.number(About())
        return Rows(table, _objects([blob_of(message) for message in messages]))

    def _columns(self, frame: ScoresFrame) -> Table:
        table = np.zeros(len(frame), ROW)
        table["offset"], table["index"], table["time"] = (frame.column(name) for name in ("offsets", "index", "times"))
        devices = np.array(self._devices.numbers(frame.devices), np.int32)
        table["device"] = devices[np.frombuffer(frame.device, "<i4")]
        table["warming"] = np.frombuffer(frame.warming, "u1")
        return table

    def _features(self, frame: ScoresFrame) -> Rows:
        table = self._columns(frame)
        table["slot"] = self.slots.number(Slot("features"))
        table["about"] = self.abouts.number(About(frame.provenance, feature_names=frame.feature_names))
        width = 8 * len(frame.feature_names)
        return Rows(table, _objects([frame.features[start : start + width] for start in range(0, width * len(frame), width)]))

    def _scores(self, frame: ScoresFrame) -> Rows:
        shared = self._columns(frame)
        counts: dict[str, Table] = {}
        tables = [self._role(frame, role, shared, counts) for role in frame.roles]
        table = np.concatenate(tables) if tables else np.zeros(0, ROW)
        return Rows(table, np.full(len(table), None, np.object_))

    def _role(self, frame: ScoresFrame, role: RoleColumns, shared: Table, counts: dict[str, Table]) -> Table:
        """One model's rows. `counts`: how many rows of the same role each reading has had so far."""
        places = np.frombuffer(role.rows, "<i4") if role.rows else np.arange(len(frame), dtype=np.int32)
        table: Table = shared[places]
        before = counts.setdefault(role.role, np.zeros(len(frame), np.int32))
        numbers = before[places]
        before[places] += 1
        for number in np.unique(numbers).tolist():
            table["slot"][numbers == number] = self.slots.number(Slot("scores", role.role, number))
        table["about"] = self.abouts.number(About(frame.provenance, role.role, role.model, role.digest, role.threshold))
        table["score"] = np.frombuffer(role.scores, "<u8")
        for place, reason in role.errors.items():
            table["error"][place] = self._errors.number(reason)
        if role.role in DECIDING:
            table["anomalous"] = np.frombuffer(frame.anomalous, "u1")[places] & (table["error"] == 0)
        return table

    def describe(self, row: Any, blob: bytes | None) -> dict[str, Any]:
        """A row as a person reads it."""
        slot: Slot = self.slots[int(row["slot"])]
        if slot.topic == "anomalies":
            assert blob is not None
            return dict(msgspec.json.decode(blob))
        if slot.topic == "dead_letters":
            assert blob is not None
            letter = {key: value for key, value in msgspec.structs.asdict(decode_dead_letter(blob)).items() if key not in WHOSE}
            return letter | {"payload": letter["payload"][:HEX].hex() if letter["payload"] is not None else None}
        about: About = self.abouts[int(row["about"])]
        assert about.provenance is not None
        found = msgspec.structs.asdict(about.provenance) | {
            "offset": int(row["offset"]),
            "index": int(row["index"]),
            "time": int(row["time"]),
            "device": self._devices[int(row["device"])],
            "warming": bool(row["warming"]),
        }
        if slot.topic == "features":
            assert blob is not None
            return found | {"features": dict(zip(about.feature_names, np.frombuffer(blob, "<f8").tolist(), strict=True))}
        error = self._errors[int(row["error"])] or None
        return found | {
            "role": about.role,
            "model": about.model,
            "digest": about.digest,
            "score": None if error else float(np.array(row["score"]).view("<f8")),
            "threshold": about.threshold,
            "error": error,
            "anomalous": bool(row["anomalous"]),
        }


def joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) < 2:
        return parts[0] if parts else NONE
    tables, blobs = [rows.table for rows in parts], [rows.blobs for rows in parts]
    return Rows(np.concatenate(tables), np.concatenate(blobs))


def _objects(items: list[bytes]) -> Objects:
    found = np.empty(len(items), np.object_)
    found[:] = items
    return found
