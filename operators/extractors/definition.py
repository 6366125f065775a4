"""What is said on `parameters` of a user's extractor: which code stands for a version of it. The code itself is not in it.

The first of a name:version counts, as for models: so nobody changes the code of a version that has been used.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.code_loading import origin
from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.plan import Pin
from swapstream.operators.statement import digest_of
from swapstream.operators.wire import check_version, read

VERSION = 1


class ExtractorDefinition(msgspec.Struct, frozen=True):
    """A version of an extractor. `source` is its module:Class in the archive with the digest `code`, `settings` are their names."""

    name: str
    version: int
    schema_version: int
    source: str
    code: str
    settings: tuple[str, ...]
    v: int = VERSION

    @property
    def ref(self) -> str:
        """name:version."""
        return f"{self.name}:{self.version}"

    @property
    def pin(self) -> Pin:
        return Pin(self.ref, digest_of(self.encode()))

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> ExtractorDefinition:
        """Raises InvalidDefinition."""
        found = read(body, cls, InvalidDefinition, "an extractor's definition")
        check_version(found.v, VERSION, InvalidDefinition, "an extractor's definition")
        return found


def own_pins(extractor: Composite) -> tuple[Pin, ...]:
    """Of the definitions that a plan with this extractor needs."""
    return tuple(one.pin for one in definitions_of(member.extractor for member in extractor.members))


def definitions_of(extractors: Iterable[Extractor]) -> list[ExtractorDefinition]:
    """Of those of a plan's list that are users' code, each once, sorted by name. What is built in comes with the release."""
    kinds = {type(extractor): origin(type(extractor)) for extractor in extractors}
    found = [
        ExtractorDefinition(kind.NAME, kind.VERSION, kind.SCHEMA_VERSION, ref.source, ref.digest, kind.__struct_fields__)
        for kind, ref in kinds.items()
        if ref is not None
    ]
    return sorted(found, key=lambda one: (one.name, one.version))
