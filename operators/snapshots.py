"""A shard's state on the topic `snapshots`: what it was right after the record at some offset, in parts.

Whoever has the logs starts here instead of at their beginning: `verify`, replay, the check of an upgrade. A savepoint can't be
read without Flink; this can.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.outputs import Emission
from swapstream.operators.shard_state import Head, Snapshot
from swapstream.operators.tables import Tables
from swapstream.operators.wire import check_version, read

VERSION = 1
PART_BYTES = 512 * 1024
AT_ONCE = 1024 * 1024
"""Bytes that go out with one frame, rounded up to parts: a large state leaves over many, so that none waits long."""
MAX_BYTES = 64 * 1024 * 1024
MAX_CUT_BYTES = 4 * 1024 * 1024
"""What may be published at a cut, where records wait for it: some 10 ms to encode and send."""
NAME_BYTES = 32
"""Of a device's name, as a guess."""

Why = Literal["start", "cut", "arrival", "time", "fork"]


class SnapshotPart(msgspec.Struct, frozen=True):
    """One message: bytes of a snapshot from part `part` (0 to `parts` − 1) on; `size` and `digest` (sha256) are of the whole.

    `offset` is the last record that the state knows, `timestamp` its log time in ms, or that of the record which made the shard
    publish. The whole is a shard's `snapshot()`, with nothing held. `why`:
    - start: the shard started before the next record, without state. cut: a plan began there. time: it was time.
    - arrival: an update began there, ahead of records that had waited. Only the head, with the update itself: it may lie nowhere
      else any more, and nobody can start from it.
    - fork: the job of this `generation` has taken over another's state, as it is behind that record, and migrated it to its plan.
    """

    namespace: str
    deployment: str
    topic: str
    partition: int
    offset: int
    epoch: int
    plan: str
    timestamp: int
    why: Why
    size: int
    digest: str
    part: int
    parts: int
    body: bytes
    v: int = VERSION
    generation: int = 0

    @property
    def key(self) -> str:
        whose = f"{self.namespace}/{self.deployment}" + (f"/{self.generation}" if self.generation else "")
        return f"{whose}/{self.topic}/{self.partition}/{self.offset}/{self.part}"

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)


def decode_part(value: bytes) -> SnapshotPart:
    """Read a message of `snapshots`. Raises InvalidDefinition."""
    part = read(value, SnapshotPart, InvalidDefinition, "a part of a snapshot")
    check_version(part.v, VERSION, InvalidDefinition, "part of a snapshot")
    if not 0 <= part.part < part.parts:
        raise InvalidDefinition(f"part {part.part} of a snapshot of {part.parts} parts")
    return part


class Published(msgspec.Struct, frozen=True):
    """A snapshot that is whole: its first part, which says where it belongs, and the state that `Shard.restore` takes."""

    about: SnapshotPart
    state: bytes


class Snapshots:
    """When a shard publishes its state, and the parts that are on their way. Not part of the state itself: a snapshot
    that a failure cuts off is never whole, and nobody takes it for one.

    `every_ms` of log time; 0: never, at cuts neither.
    """

    def __init__(self, namespace: str, deployment: str, topic: str, partition: int, every_ms: int, generation: int = 0) -> None:
        self._whose = (namespace, deployment, topic, partition)
        self._generation = generation
        self._every = every_ms
        self._last: int | None = None
        self._waiting: deque[Emission] = deque()

    def began(self, why: Why, head: Head, tables: Tables, offset: int, timestamp: int) -> None:
        """A plan begins behind the record at `offset`. For a fork nobody waits."""
        if self._every and tables.weight(NAME_BYTES) <= (MAX_BYTES if why == "fork" else MAX_CUT_BYTES):
            self._publish(why, head, tables, offset, timestamp)

    def arrived(self, head: Head, offset: int, timestamp: int) -> None:
        """An update begins behind the record at `offset`, and `head` carries it."""
        if self._every:
            self._publish("arrival", head, None, offset, timestamp)

    def sent(self, head: Head, tables: Tables, offset: int, timestamp: int) -> list[Emission]:
        """A frame is done, its last record the one at `offset` and log time `timestamp`: what goes out with it."""
        if self._last is None:
            self._last = timestamp
        if self._every and timestamp - self._last >= self._every and tables.weight(NAME_BYTES) <= MAX_BYTES:
            self._publish("time", head, tables, offset, timestamp)
        return self.rest()

    def rest(self) -> list[Emission]:
        """What goes out with a frame of what is on its way."""
        found, room = [], AT_ONCE
        while self._waiting and room > 0:
            found.append(self._waiting.popleft())
            room -= len(found[-1].value)
        return found

    def _publish(self, why: Why, head: Head, tables: Tables | None, offset: int, timestamp: int) -> None:
        """Put the parts into line; not while a large state is still on its way."""
        if sum(len(part.value) for part in self._waiting) > MAX_CUT_BYTES:
            return
        if tables is not None:
            self._last = timestamp
        at = msgspec.msgpack.encode(msgspec.structs.replace(head, last=offset))
        state = msgspec.msgpack.encode(Snapshot(at, tables.snapshot() if tables else None, []))
        parts = parts_of(state, *self._whose, offset, head.epoch, head.plan, timestamp, why, self._generation)
        self._waiting += [Emission("snapshots", part.key.encode(), part.encode()) for part in parts]


def parts_of(
    state: bytes,
    namespace: str,
    deployment: str,
    topic: str,
    partition: int,
    offset: int,
    epoch: int,
    plan: str,
    timestamp: int,
    why: Why,
    generation: int = 0,
) -> list[SnapshotPart]:
    """A state in messages of about PART_BYTES."""
    bodies = [state[start : start + PART_BYTES] for start in range(0, len(state), PART_BYTES)]
    digest = hashlib.sha256(state).hexdigest()
    about = SnapshotPart(
        namespace, deployment, topic, partition, offset, epoch, plan, timestamp, why, len(state), digest, 0, len(bodies), b"",
        generation=generation,
    )  # fmt: skip
    return [msgspec.structs.replace(about, part=number, body=body) for number, body in enumerate(bodies)]


class Assembly:
    """Puts parts together, in whatever order they come; remembers no more than what may still become whole."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, str], dict[int, SnapshotPart]] = {}

    def add(self, part: SnapshotPart) -> Published | None:
        """The snapshot, when this was the last of its parts. One whose bytes are not what its digest says is passed over."""
        key = (part.partition, part.offset, part.digest)
        parts = self._found.setdefault(key, {})
        parts[part.part] = part
        if len(parts) < part.parts:
            return None
        del self._found[key]
        state = b"".join(parts[number].body for number in sorted(parts))
        whole = len(state) == part.size and hashlib.sha256(state).hexdigest() == part.digest
        return Published(msgspec.structs.replace(parts[0], body=b""), state) if whole else None

    def forget(self, partition: int, before: int) -> None:
        """Parts of a partition's snapshots before an offset are of no use any more."""
        for key in [key for key in self._found if key[0] == partition and key[1] < before]:
            del self._found[key]
