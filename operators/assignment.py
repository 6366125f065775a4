"""What a deployment tells each of its shards."""

from __future__ import annotations

import msgspec


class Assignment(msgspec.Struct, frozen=True):
    """Who a shard is, the plan before any token, how far `parameters` was at submit.

    `max_held` bounds the bytes of input a shard may hold back. `snapshot_every_ms` of log time it publishes its state; 0: never.
    """

    namespace: str
    deployment: str
    topic: str
    plan: str
    parameters_end: int
    max_held: int = 64 * 1024 * 1024
    snapshot_every_ms: int = 0
