"""The cut map of a swap: at which offset of each partition a plan begins. Written in the tokens' own transaction (C2)."""

from __future__ import annotations

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.wire import read

VERSION = 1


class Cut(msgspec.Struct, frozen=True):
    """`offsets` maps partition to the token's offset: records after it are the plan's, up to the next cut."""

    namespace: str
    deployment: str
    epoch: int
    plan: str
    topic: str
    offsets: dict[int, int]
    v: int = VERSION

    @property
    def name(self) -> str:
        return f"{self.deployment}:{self.epoch}"

    def covers(self, partition: int, offset: int) -> bool:
        """Whether the record at `offset` comes after this cut. A partition that was added later is after every cut."""
        return self.offsets.get(partition, -1) < offset

    def encode(self) -> bytes:
        in_order = msgspec.structs.replace(self, offsets=dict(sorted(self.offsets.items())))
        return msgspec.msgpack.encode(in_order)

    @classmethod
    def decode(cls, body: bytes) -> Cut:
        """Raises InvalidDefinition."""
        cut = read(body, cls, InvalidDefinition, "a cut map")
        if cut.v != VERSION:
            raise InvalidDefinition(f"cut map of version {cut.v}: this release reads version {VERSION}")
        return cut
