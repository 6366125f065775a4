"""Swapstream's own stages on bare messages: decode and extract as the shard does, without shard, Kafka or Flink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from swapstream.models.schema import load_schema
from swapstream.operators.decode import Decoder
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Bool, Float64, Frame, RawFrame


class Stages:
    """Decoder, extractor and the device table that it fills."""

    def __init__(self, schema: Path, extractor: list[Any]) -> None:
        read = load_schema(schema)
        self.decoder = Decoder(read)
        self.composite = Composite.parse(extractor, read.names)
        self.table = self.composite.table()
        self._seen = 0

    def extract(self, payloads: list[bytes | None]) -> tuple[Frame, Float64, Bool]:
        """The next messages, all good: their records, features [n, K] and warming [n]."""
        offsets = np.arange(self._seen, self._seen + len(payloads))
        self._seen += len(payloads)
        frame, bad = self.decoder.decode(RawFrame(0, payloads, offsets, offsets, []), 0, len(payloads))
        if bad:
            raise ValueError(f"message {bad[0][0]}: {bad[0][1]}: {bad[0][2]}")
        return (frame, *self.composite.extract(frame, self.table))
