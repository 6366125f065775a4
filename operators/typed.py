"""Messages of a topic to records: each decoded, in one call, into the type that its schema has for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any

import msgspec
import numpy as np

from swapstream.models.schema import Schema
from swapstream.operators.frame import Int64
from swapstream.operators.readers import MAX_DETAIL, Bad

Decode = Callable[[Any], Any]


class Typed:
    """Decodes messages of several schemas with one codec and one type key; at most one has no type and takes the messages
    without the key. `types`: a struct type for each schema, tagged (records.py) where there are several. Holds no state between calls.

    One call decodes a message whatever its type; where one schema has no type a message is looked at for its type before.
    """

    def __init__(self, schemas: Sequence[Schema], types: Sequence[Any]) -> None:
        self._codec = schemas[0].codec
        self._types = {schema.type or None: record for schema, record in zip(schemas, types, strict=True)}
        self._key = next((schema.type_key for schema in schemas if schema.type), "")
        self._probe = decoder(self._codec, probe_type(self._key))
        self._decode = self._by_probe() if len(self._types) > 1 and None in self._types else self._at_once()

    def records(self, payloads: Sequence[Any], start: int) -> tuple[list[Any], Int64, list[Bad]]:
        """Every payload that decodes, its place from `start` on, and the others; reasons are those of Decoders.decode."""
        records: list[Any] = []
        bad: list[Bad] = []
        rest = iter(payloads)
        while True:
            try:
                # When a message fails, `extend` keeps the ones before it and `rest` stands behind it.
                records.extend(map(self._decode, rest))
                break
            except Exception as error:
                index = len(records) + len(bad)
                bad.append(Bad(start + index, None, *self._explain(payloads[index], error)))
        places = np.arange(start, start + len(payloads))
        return records, np.delete(places, [entry.place - start for entry in bad]) if bad else places, bad

    def _at_once(self) -> Decode:
        return decoder(self._codec, reduce(or_, self._types.values()))

    def _by_probe(self) -> Decode:
        by_type = {kind: decoder(self._codec, record) for kind, record in self._types.items()}
        probe = self._probe

        def decode(payload: Any) -> Any:
            return by_type[probe(payload).kind](payload)  # a type that no schema has is a KeyError, see _explain

        return decode

    def _explain(self, payload: Any, error: Exception) -> tuple[str, str]:
        """Reason and detail of a message that does not decode."""
        if not payload:
            return "empty", "no payload"
        if self._key:
            try:
                kind = self._probe(payload).kind
            except Exception as worse:
                error = worse
            else:
                if not isinstance(kind, str | None) or kind not in self._types:
                    return "schema", self._type_detail(kind)
        reason = "invalid" if isinstance(error, msgspec.ValidationError) else "malformed"
        return reason, (str(error) or type(error).__name__)[:MAX_DETAIL]

    def _type_detail(self, kind: Any) -> str:
        known = ", ".join(sorted(filter(None, self._types)))
        said = f"no {self._key}" if kind is None else f"{self._key} is {kind!r}"[:100]
        return f"{said}; the plan's schemas have {known}"[:MAX_DETAIL]


def decoder(codec: str, kind: Any) -> Decode:
    """The function that decodes one message."""
    return (msgspec.json.Decoder(kind) if codec == "json" else msgspec.msgpack.Decoder(kind)).decode


def probe_type(key: str) -> Any:
    """What a message says of its type: None where it says nothing."""
    return msgspec.defstruct("Type", [("kind", Any, None)], rename={"kind": key}, gc=False)
