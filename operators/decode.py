"""Telemetry messages to frames, against the schemas of a topic. A message that can't be read harms only itself (C7).

The hot path: one msgspec call a message into a struct type made for the schema, then columns with numpy. 110-byte
msgpack with 8 values: 1.2 to 1.4 million records a second on one core.

What is well formed and yet odd is read like this, and never depends on the frame it came in:

- a key that stands twice counts as it stands last; a type key that names two types makes the message invalid
- readings that come out of order, or twice, are readings: they are taken in the log's order
- a time in another unit than the schema's lies far from its log time: `max_ahead`, and `max_behind` where it is set, find it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any

import msgspec
import numpy as np

from swapstream.models.schema import Schema
from swapstream.operators.blocks import Blocks
from swapstream.operators.frame import Frame, Int64, RawFrame
from swapstream.operators.readers import MAX_DETAIL, Bad, Reader
from swapstream.operators.singles import Singles

Decode = Callable[[Any], Any]


class Decoder:
    """Reads messages of one schema; holds no state between calls."""

    def __init__(self, schema: Schema) -> None:
        self._all = Decoders((schema,))

    def decode(self, raw: RawFrame, start: int, stop: int) -> tuple[Frame, list[Bad]]:
        """As Decoders.decode, with the only frame."""
        (frame,), bad = self._all.decode(raw, start, stop)
        return frame, bad


class Decoders:
    """Reads messages of several schemas with one codec and one type key; at most one has no type and takes the messages
    without the key. Holds no state between calls.

    One call decodes a message whatever its type; where one schema has no type a message is looked at for its type before.
    """

    def __init__(self, schemas: Sequence[Schema]) -> None:
        self._codec = schemas[0].codec
        self._readers = [reader(schema, tagged=bool(schema.type) and len(schemas) > 1) for schema in schemas]
        self._codes = {one.record: code for code, one in enumerate(self._readers)}
        self._types = {schema.type or None: one.record for schema, one in zip(schemas, self._readers, strict=True)}
        self._key = next((schema.type_key for schema in schemas if schema.type), "")
        self._probe = decoder(self._codec, probe_type(self._key))
        self._decode = self._by_probe() if len(self._types) > 1 and None in self._types else self._at_once()

    def decode(self, raw: RawFrame, start: int, stop: int) -> tuple[list[Frame], list[Bad]]:
        """Records start to stop (exclusive) of `raw`: the good readings as a frame for each schema, in order, and the bad
        ones, in order. Never raises for what a payload holds.

        Reasons: "empty" no payload, or no reading in it; "malformed" not the schemas' codec; "schema" of no schema's type;
        "invalid" a key missing or of another type, or another number of values; "device" empty or over 256 bytes; "time"
        negative, beyond int64 microseconds or too far from log time; "not_finite" a value that is NaN or infinite. The
        first that applies is given.
        """
        records, places, bad = self._records(raw.payloads[start:stop], start)
        frames: list[Frame] = []
        for code, one in enumerate(self._readers):
            frame, more = one.frame(raw, *self._of(code, records, places))
            frames.append(frame)
            bad += more
        return frames, sorted(bad)

    def _records(self, payloads: Sequence[Any], start: int) -> tuple[list[Any], Int64, list[Bad]]:
        """Every payload that decodes, its place, and the others."""
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

    def _of(self, code: int, records: list[Any], places: Int64) -> tuple[list[Any], Int64]:
        """The records of one schema."""
        if len(self._readers) == 1:
            return records, places
        codes = np.fromiter(map(self._codes.__getitem__, map(type, records)), np.int64, len(records))
        mine = np.flatnonzero(codes == code)
        return [records[i] for i in mine.tolist()], places[mine]

    def _at_once(self) -> Decode:
        return decoder(self._codec, reduce(or_, (one.record for one in self._readers)))

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


def reader(schema: Schema, tagged: bool) -> Reader:
    """What reads a schema's layout; `tagged`: as one of several."""
    return Blocks(schema, tagged) if schema.layout == "columnar" else Singles(schema, tagged)


def decoder(codec: str, kind: Any) -> Decode:
    """The function that decodes one message."""
    return (msgspec.json.Decoder(kind) if codec == "json" else msgspec.msgpack.Decoder(kind)).decode


def probe_type(key: str) -> Any:
    """What a message says of its type: None where it says nothing."""
    return msgspec.defstruct("Type", [("kind", Any, None)], rename={"kind": key}, gc=False)
