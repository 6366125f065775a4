"""Retention: how many devices a shard remembers, and for how long."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

DAY_MS = 86_400_000


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of a device table. What is forgotten starts as a new device, and warms up, when it comes back.

    - max: devices a shard remembers; when one more comes, the one seen longest ago is forgotten. Larger costs memory.
    - evict_after: milliseconds of log time after its last record that a device is remembered. Log time is the running
      maximum of the records' Kafka timestamps, so the same log forgets the same devices at the same records, whenever
      and in whatever frames it is read.
    """

    max: Annotated[int, Meta(ge=1, le=100_000_000)] = 100_000
    evict_after: Annotated[int, Meta(ge=1)] = 30 * DAY_MS


DEFAULT_RETENTION = Retention()
