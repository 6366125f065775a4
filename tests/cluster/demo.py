"""What tests on a cluster feed: readings of the demo's schema, and the features of a usual extractor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from swapstream.models.schema import Schema, encoder

from .support import EPOCH_MS, demo_schema

PATH, SCHEMA = demo_schema()
FEATURES = (*SCHEMA.names, *(f"{name}.ewm_{kind}" for kind in ("mean", "deviation") for name in SCHEMA.names))
"""Of the extractor that `smoothed` gives."""
BAD_EVERY = 100
BAD = b"none"


def smoothed(halflife: float) -> list[Any]:
    """As it stands in a plan file."""
    return ["identity", {"ewm": {"halflife": halflife}}]


def messages(devices: int = 50, first: int = 0, bad: bool = True, schema: Schema = SCHEMA) -> Iterator[tuple[bytes, bytes]]:
    """Keys and readings without end, the n-th n ms after EPOCH_MS; with `bad` one in BAD_EVERY is none."""
    encode, rows = encoder(schema), np.random.default_rng(2).normal(size=(1000, len(schema.names))).tolist()
    for number in count(first):
        device = f"pump-{number % devices}"
        broken = bad and number % BAD_EVERY == 9
        yield device.encode(), BAD if broken else encode(device, EPOCH_MS + number, rows[number % 1000])
