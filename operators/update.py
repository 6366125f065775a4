"""Small updates: a plan and what it newly needs, inside the token itself; and the cut map of the last of them.

Ten a second leave nothing behind on `parameters`: the cut's key there is the deployment's, so that compaction keeps the newest alone.
"""

from __future__ import annotations

import hashlib

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.cut import Cut
from swapstream.operators.wire import check_version, read

VERSION = 1
MAX_UPDATE = 48 * 1024
"""Bytes of an update: a token has room for it, and the partition's readers take no notice."""


class Update(msgspec.Struct, frozen=True):
    """What a token of kind "update" carries: an encoded Plan, and the artifacts it needs that are not on `parameters`."""

    plan: bytes
    models: list[bytes]
    v: int = VERSION

    def encode(self) -> bytes:
        """Raises InvalidDefinition for one that is too large."""
        body = msgspec.msgpack.encode(self)
        if len(body) > MAX_UPDATE:
            raise InvalidDefinition(f"update: size: {len(body)} bytes, at most {MAX_UPDATE}; publish its models instead")
        return body

    @classmethod
    def decode(cls, body: bytes) -> Update:
        """Raises InvalidDefinition."""
        if len(body) > MAX_UPDATE:
            raise InvalidDefinition(f"update: size: {len(body)} bytes, at most {MAX_UPDATE}")
        update = read(body, cls, InvalidDefinition, "an update")
        check_version(update.v, VERSION, InvalidDefinition, "update")
        return update


class UpdateCut(msgspec.Struct, frozen=True):
    """The newest update of a deployment, on `parameters`: its encoded Cut and Update, for shards that start after its tokens."""

    cut: bytes
    update: bytes
    v: int = VERSION

    @property
    def where(self) -> Cut:
        """Raises InvalidDefinition."""
        return Cut.decode(self.cut)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> UpdateCut:
        """Raises InvalidDefinition, also for a cut or an update in it that is none."""
        found = read(body, cls, InvalidDefinition, "the cut of an update")
        check_version(found.v, VERSION, InvalidDefinition, "cut of an update")
        cut, update = found.where, Update.decode(found.update)
        if hashlib.sha256(update.plan).hexdigest() != cut.plan:
            raise InvalidDefinition(f"update {cut.name}: the plan's sha256 is not {cut.plan[:12]}…, the cut's")
        return found
