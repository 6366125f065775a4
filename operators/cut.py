"""The cut map of a swap: where in each partition a plan begins."""

from __future__ import annotations

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.wire import check_version, read

VERSION = 3


class Cut(msgspec.Struct, frozen=True):
    """Where the plan of an epoch begins; up to the next cut.

    - offsets: partition to the offset of its token, written in the same transaction (C2): the plan's are the records after it.
    - arrival (since version 2): there are no tokens and no offsets. The plan begins in each shard at the first record of the next frame
      after the shard has seen this; output and ledger record at which.
    - successor, predecessor (since version 3): of a handover the generation of the job that answers for the records after the tokens,
      and of the one that answered before. successor 0: no job changed.
    """

    namespace: str
    deployment: str
    epoch: int
    plan: str
    topic: str
    offsets: dict[int, int]
    v: int = VERSION
    arrival: bool = False
    predecessor: int = 0
    successor: int = 0

    @property
    def name(self) -> str:
        return f"{self.deployment}:{self.epoch}"

    @property
    def handover(self) -> bool:
        return self.successor > 0

    def covers(self, partition: int, offset: int) -> bool:
        """Whether the record at `offset` comes after this cut. A partition that was added later is after every cut.

        Of one at arrival the offset isn't known here, so it covers nothing.
        """
        return not self.arrival and self.offsets.get(partition, -1) < offset

    def encode(self) -> bytes:
        """What is no handover is written as version 2, as ever: its digest stays over releases."""
        said = msgspec.structs.asdict(self) | {"offsets": dict(sorted(self.offsets.items())), "v": VERSION}
        if not self.handover:
            del said["predecessor"], said["successor"]
            said["v"] = 2
        return msgspec.msgpack.encode(said)

    @classmethod
    def decode(cls, body: bytes) -> Cut:
        """Reads versions 1 and 2 as well. Raises InvalidDefinition."""
        cut = read(body, cls, InvalidDefinition, "a cut map")
        check_version(cut.v, VERSION, InvalidDefinition, "cut map")
        if cut.arrival and cut.offsets:
            raise InvalidDefinition(f"cut map {cut.name}: it takes effect at arrival, so it can't have offsets")
        if cut.arrival and cut.handover:
            raise InvalidDefinition(f"cut map {cut.name}: it takes effect at arrival, so it can't be a handover")
        return msgspec.structs.replace(cut, v=VERSION)
