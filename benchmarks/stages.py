"""Swapstream's own stages on bare messages: decode and extract as the shard does, without shard, Kafka or Flink."""

from __future__ import annotations

import time
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
        self._seen, self._logged = 0, time.time_ns() // 1_000_000

    def extract(self, payloads: list[bytes | None]) -> tuple[Frame, Float64, Bool]:
        """The next messages, all good: their records, features [n, K] and warming [n]."""
        offsets = np.arange(self._seen, self._seen + len(payloads))
        self._seen += len(payloads)
        raw = RawFrame(0, payloads, offsets, np.full(len(payloads), self._logged), [])
        frame, bad = self.decoder.decode(raw, 0, len(payloads))
        if bad:
            raise ValueError(f"{len(bad)} bad messages, the first: {bad[0]}")
        return (frame, *self.composite.extract(frame, self.table))
