"""What a model is trained on: the features of a telemetry file, by the code that the cluster runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.spec import parse_text
from swapstream.operators.frame import Float64, Frame
from swapstream.operators.plan import load_plan_file
from swapstream.scripts.catalogue import find_schema

if TYPE_CHECKING:
    from swapstream.scripts.files import Telemetry

FRAME = 10_000


class Input(msgspec.Struct, frozen=True):
    """What stands before a model: messages of a schema, and the extractor that makes features of them."""

    schema: Schema
    extractor: Composite


def input_of(plan: str | None, schema: str | None, extractors: Sequence[str]) -> Input | None:
    """The input that a plan file describes, or a schema with extractors as text; None when neither is given.

    Raises InvalidSettings for both, UnknownName, InvalidPlan, InvalidSchema.
    """
    if plan is not None:
        if schema is not None or extractors:
            raise InvalidSettings("--plan holds schema and extractor; leave out --schema and --extractor")
        file = load_plan_file(plan)
        found = find_schema(file.schema, Path(plan).parent)
        return Input(found, Composite.parse(list(file.extractor), found.names))
    if schema is None:
        if extractors:
            raise InvalidSettings("--extractor needs the fields of a --schema")
        return None
    found = find_schema(schema)
    spec = [entry for text in extractors for entry in parse_text(text)]
    return Input(found, Composite.parse(spec or ["identity"], found.names))


def features_of(telemetry: Telemetry, extractor: Composite) -> Float64:
    """Features float64[k, K] of the file's readings, in its order, but for warming and labelled ones."""
    table = extractor.table()
    parts = []
    for first in range(0, len(telemetry.devices), FRAME):
        features, warming = extractor.extract(_frame(telemetry, first), table)
        keep = ~warming
        if telemetry.labels is not None:
            keep &= ~telemetry.labels[first : first + FRAME]
        parts.append(features[keep])
    return np.concatenate([np.empty((0, len(extractor.features))), *parts])


def _frame(telemetry: Telemetry, first: int) -> Frame:
    rows = slice(first, first + FRAME)
    times = telemetry.times[rows]
    return Frame(0, np.arange(first, first + len(times)), times // 1000, times, telemetry.devices[rows], telemetry.values[rows])
