"""What a model is trained on: the features of a telemetry file, by the code that the cluster runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.spec import parse_text
from swapstream.operators.frame import Float64
from swapstream.operators.plan import load_plan_file
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.files import Telemetry


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
    """Features float64[k, K] of the file's readings, in its order, without warming and labelled ones.

    A reading that is not finite would be a dead letter: it is left out before, so that the extractor doesn't see it either.
    """
    telemetry = telemetry.finite()
    features, warming = extractor.extract(telemetry.frame(), extractor.table())
    kept: Float64 = features[~warming if telemetry.labels is None else ~warming & ~telemetry.labels]
    if len(kept) < 2:
        raise InvalidSettings(
            f"{telemetry.source.name}: {len(kept)} rows are left to train on: of {telemetry.source.rows}"
            f" {len(telemetry)} are finite, {np.count_nonzero(warming)} of these warming"
        )
    return kept
