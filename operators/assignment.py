"""What a deployment tells each of its shards."""

from __future__ import annotations

from typing import Literal

import msgspec


class Upgrade(msgspec.Struct, frozen=True):
    """What a job that starts from another one's state is to do with it; the state is migrated to `plan` (a digest) at once.

    - savepoint: the other job has stopped. Shards hold their input until a cut at arrival of this epoch, or of a higher one, is there.
    - handover: the other job goes on. Shards are mute until the handover token that names this job.
    - epoch: the one that the plan is to have; the one before it was in force when the upgrade was ordered.
    """

    mode: Literal["savepoint", "handover"]
    plan: str
    epoch: int


class Inherited(msgspec.Struct, frozen=True):
    """State that another deployment's shard has published (a Snapshot's bytes), at `where` below the store."""

    digest: str
    size: int
    where: str


class Assignment(msgspec.Struct, frozen=True):
    """Who a shard is, the plan before any token, how far `parameters` was at submit.

    - max_held: bounds the bytes of input a shard may hold back. snapshot_every_ms: of log time, it publishes its state; 0: never.
    - generation: which of the deployment's jobs this is; each submission but a keeper's has the next one, and none comes back. 0: one of
      before there were any. upgrade: how it takes over another's state.
    - partitions: how many there were at submit, numbers 0 to partitions - 1. 0: not known.
    - spans: partition → first and last offset that are to be answered; records before only warm devices up, nothing comes of those
      behind. A partition that is not named is answered as a whole.
    - inherited: partition → what its devices begin with; of those that are not named no device is known.
    """

    namespace: str
    deployment: str
    topic: str
    plan: str
    parameters_end: int
    max_held: int = 64 * 1024 * 1024
    snapshot_every_ms: int = 0
    generation: int = 0
    upgrade: Upgrade | None = None
    partitions: int = 0
    spans: dict[int, tuple[int, int]] = {}
    inherited: dict[int, Inherited] = {}
