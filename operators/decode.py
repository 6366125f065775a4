"""Telemetry messages to frames, against the schemas of a topic. A message that can't be read harms only itself (C7).

The hot path: one msgspec call a message into a struct type made for the schema, then columns with numpy. 110-byte
msgpack with 8 values: 1.2 to 1.4 million records a second on one core.

What is well formed and yet odd is read like this, and never depends on the frame it came in:

- a key that stands twice counts as it stands last; a type key that names two types makes the message invalid
- readings that come out of order, or twice, are readings: they are taken in the log's order
- a time in another unit than the schema's lies far from its log time: `max_ahead`, and `max_behind` where it is set, find it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from swapstream.models.schema import Schema
from swapstream.operators.blocks import Blocks
from swapstream.operators.frame import Frame, Int64, RawFrame
from swapstream.operators.readers import Bad, Reader
from swapstream.operators.singles import Singles
from swapstream.operators.typed import Typed


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
    """

    def __init__(self, schemas: Sequence[Schema]) -> None:
        self._readers = [reader(schema, tagged=bool(schema.type) and len(schemas) > 1) for schema in schemas]
        self._codes = {one.record: code for code, one in enumerate(self._readers)}
        self._typed = Typed(schemas, [one.record for one in self._readers])

    def decode(self, raw: RawFrame, start: int, stop: int) -> tuple[list[Frame], list[Bad]]:
        """Records start to stop (exclusive) of `raw`: the good readings as a frame for each schema, in order, and the bad
        ones, in order. Never raises for what a payload holds.

        Reasons: "empty" no payload, or no reading in it; "malformed" not the schemas' codec; "schema" of no schema's type;
        "invalid" a key missing or of another type, or another number of values; "device" empty or over 256 bytes; "time"
        negative, beyond int64 microseconds or too far from log time; "not_finite" a value that is NaN or infinite. The
        first that applies is given.
        """
        records, places, bad = self._typed.records(raw.payloads[start:stop], start)
        frames: list[Frame] = []
        for code, one in enumerate(self._readers):
            frame, more = one.frame(raw, *self._of(code, records, places))
            frames.append(frame)
            bad += more
        return frames, sorted(bad)

    def _of(self, code: int, records: list[Any], places: Int64) -> tuple[list[Any], Int64]:
        """The records of one schema."""
        if len(self._readers) == 1:
            return records, places
        codes = np.fromiter(map(self._codes.__getitem__, map(type, records)), np.int64, len(records))
        mine = np.flatnonzero(codes == code)
        return [records[i] for i in mine.tolist()], places[mine]


def reader(schema: Schema, tagged: bool) -> Reader:
    """What reads a schema's layout; `tagged`: as one of several."""
    return Blocks(schema, tagged) if schema.layout == "columnar" else Singles(schema, tagged)
