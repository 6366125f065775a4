"""Telemetry to features and no further: what a shard does before it scores, for learning from a span of the log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swapstream.models.schema import Schema
from swapstream.operators.batches import Batch, Made, extracted
from swapstream.operators.decode import Decoders
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import RawFrame
from swapstream.operators.token import is_token


class Extraction:
    """One partition, one of its schemas. `schemas`: all that are told apart in the topic; of the others nothing is made.

    `table`: what is remembered of devices at the start; by default nothing, so that they warm up. Tokens and bad readings are left out,
    as a job leaves them out. Bits don't depend on how records are cut into frames (C6).
    """

    def __init__(self, schemas: Sequence[Schema], schema: str, extractor: Composite, table: DeviceTable | None = None) -> None:
        self._decoders = Decoders(tuple(schemas))
        self._place = [one.name for one in schemas].index(schema)
        self._extractor = extractor
        self._table = extractor.table() if table is None else table
        self._made = Made(extractor.ref, extractor.features)

    def take(self, raw: RawFrame) -> Batch:
        """The next records, as features."""
        readings = without_tokens(raw)
        frames, _ = self._decoders.decode(readings, 0, len(readings))
        frame = frames[self._place]
        return extracted(self._made, frame, *self._extractor.extract(frame, self._table))


def without_tokens(raw: RawFrame) -> RawFrame:
    places = [place for place, payload in enumerate(raw.payloads) if not is_token(payload)]
    if len(places) == len(raw):
        return raw
    at = np.array(places, np.int64)
    return RawFrame(
        raw.partition, [raw.payloads[i] for i in places], raw.offsets[at], raw.timestamps[at], [raw.keys[i] for i in places]
    )
