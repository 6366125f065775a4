"""Ledger rows: everything that happens to a deployment. JSON, one object a message, each chained to the writer's last row."""

from __future__ import annotations

import hashlib

import msgspec

VERSION = 1


class LedgerRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `id` is the same when the row is written again; `time` is in milliseconds, log time in rows from a shard.

    - prev: the sha256 of the writer's row before, empty in its first.
    - of shards: `job` and `attempt`, which execution it was; `how` a plan began: token, arrival, update or
      handover; `held`, bytes of input that
      are held back; `took_ms`, how long records waited for this, or the asker for an
      answer; `generation`, which of the deployment's jobs. Of controllers it is the job that a handover is to.
    - of workers: the versions of `libraries`, and the family of the `processor`.
    """

    id: str
    namespace: str
    deployment: str
    event: str
    writer: str
    time: int
    prev: str = ""
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    epoch: int | None = None
    plan: str | None = None
    plan_name: str | None = None
    who: str | None = None
    reason: str | None = None
    job: str | None = None
    attempt: int | None = None
    how: str | None = None
    held: int | None = None
    took_ms: float | None = None
    generation: int = 0
    libraries: dict[str, str] | None = None
    processor: str | None = None
    v: int = VERSION

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


class LedgerWriter:
    """Chains the rows of one writer: the only state is the digest of its last row."""

    def __init__(self, writer: str, prev: str = "") -> None:
        self.writer = writer
        self.prev = prev

    def write(self, row: LedgerRow) -> bytes:
        """The row's bytes, with this writer's name and chain in it."""
        encoded = msgspec.structs.replace(row, writer=self.writer, prev=self.prev).encode()
        self.prev = hashlib.sha256(encoded).hexdigest()
        return encoded
