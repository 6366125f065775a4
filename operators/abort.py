"""An abort: shards that hold at the token of an epoch whose plan isn't there go on under the plan before (C4)."""

from __future__ import annotations

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.wire import check_version, read

VERSION = 1


class Abort(msgspec.Struct, frozen=True):
    """Of one epoch of a deployment. A shard that has acted on the token is not touched by it."""

    namespace: str
    deployment: str
    epoch: int
    v: int = VERSION

    @property
    def name(self) -> str:
        return f"{self.deployment}:{self.epoch}"

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> Abort:
        """Raises InvalidDefinition."""
        abort = read(body, cls, InvalidDefinition, "an abort")
        check_version(abort.v, VERSION, InvalidDefinition, "abort")
        return abort
