"""What a shard writes down: its head, its held frames and its device tables, as versioned bytes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.duty import Duty
from swapstream.operators.frame import RawFrame
from swapstream.operators.outputs import Chain
from swapstream.operators.scores import Position
from swapstream.operators.wire import check_version, read

HEAD_VERSION = 4
HELD_VERSION = 1


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A prepare token that is not answered yet, its offset and log time (ms)."""

    payload: bytes
    offset: int
    time: int


class Head(msgspec.Struct, frozen=True):
    """The small part of a shard's state, written with every frame.

    - last: the offset of the last record taken (held ones included). chains: the last readings sent by schema. ledger: the digest
      of the last ledger row.
    - since version 3: carried, the encoded Update that the plan in force came by, if by one. preparing: what is to be answered.
      floor: how far `parameters` was read for the last accepted token, or at the start; -1: not known. aborted: the highest epoch
      that was given up.
    - since version 4: generation, of the job that wrote this; duty, what it does of the shard (operators/duty.py).
    """

    started: bool = False
    epoch: int = 0
    plan: str = ""
    last: int = -1
    chains: dict[str, Chain] = {}
    ledger: str = ""
    carried: bytes = b""
    preparing: tuple[Pending, ...] = ()
    floor: int = -1
    aborted: int = 0
    v: int = HEAD_VERSION
    generation: int = 0
    duty: Duty = "emit"


class HeadV1(msgspec.Struct, frozen=True):
    """Version 1: one schema, the offsets last sent to `scores` and `features`."""

    v: int
    started: bool = False
    epoch: int = 0
    plan: str = ""
    last: int = -1
    prev: int = -1
    prev_features: int = -1
    ledger: str = ""


class Change(msgspec.Struct, frozen=True, gc=False):
    """What of the state is to be written.

    - table: entries of the device tables to be put, or with None removed; those whose keys begin with one of `cleared` are
      removed before.
    - held: frames to be added, or with `released` to replace all that are there.
    """

    head: bytes
    table: dict[str, bytes | None]
    cleared: tuple[str, ...]
    held: list[bytes]
    released: bool


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All of a shard's state: the head, the device tables by schema (version 1: the only one, None before the start) and the
    held frames, each versioned bytes."""

    head: bytes
    tables: dict[str, bytes] | bytes | None
    held: list[bytes]


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A held frame on disk: the columns of a RawFrame."""

    v: int
    partition: int
    payloads: list[bytes | None]
    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes | None]


class Versioned(msgspec.Struct, frozen=True):
    """What all versions of a head share."""

    v: int


def decode_head(data: bytes, schema_of: Callable[[str], str]) -> Head:
    """A head of any version; `schema_of` gives the schema of a plan (by digest) of version 1. Raises InvalidDefinition."""
    version = read(data, Versioned, InvalidDefinition, "a shard's state").v
    check_version(version, HEAD_VERSION, InvalidDefinition, "shard state")
    if version > 1:
        return msgspec.structs.replace(read(data, Head, InvalidDefinition, "a shard's state"), v=HEAD_VERSION)
    old = read(data, HeadV1, InvalidDefinition, "a shard's state")
    chain = Chain(Position(old.prev, 0), Position(old.prev_features, 0))
    chains = {schema_of(old.plan): chain} if old.started else {}
    return Head(old.started, old.epoch, old.plan, old.last, chains, old.ledger)


def encode_raw(raw: RawFrame) -> bytes:
    """A held frame as versioned bytes."""
    return msgspec.msgpack.encode(
        Held(HELD_VERSION, raw.partition, raw.payloads, raw.offsets.tolist(), raw.timestamps.tolist(), raw.keys)
    )


def decode_raw(data: bytes) -> RawFrame:
    """Raises InvalidDefinition."""
    held = read(data, Held, InvalidDefinition, "a held frame")
    check_version(held.v, HELD_VERSION, InvalidDefinition, "held frame")
    offsets, timestamps = np.array(held.offsets, np.int64), np.array(held.timestamps, np.int64)
    return RawFrame(held.partition, held.payloads, offsets, timestamps, held.keys)
