"""What a model is trained on: the features of a telemetry file, by the code that the cluster runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.code import pinned
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.spec import parse_text
from swapstream.operators.frame import Bool, Float64
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.code import archives
from swapstream.scripts.files import Telemetry


class Input(msgspec.Struct, frozen=True):
    """What stands before a model: messages of a schema, and the extractor that makes features of them."""

    schema: Schema
    extractor: Composite


class Rows(msgspec.Struct, frozen=True):
    """Features float64[k, K] in the file's order, and which of them are known anomalies, None where nobody says."""

    features: Float64
    labels: Bool | None


def input_of(plan: str | None, schema: str | None, extractors: Sequence[str], code: Sequence[str] = ()) -> Input | None:
    """The input that a plan file describes, or a schema with extractors as text; None when neither is given.

    Of a plan with several schemas `schema` names the one that is meant. `code`: files with extractors of one's own.
    Raises InvalidSettings for contradictions, UnknownName, InvalidPlan, InvalidSchema.
    """
    if plan is not None:
        if extractors or code:
            raise InvalidSettings("--plan holds the extractor and its code; leave out --extractor and --code")
        return _planned(plan, schema)
    if schema is None:
        if extractors or code:
            raise InvalidSettings("--extractor needs the fields of a --schema")
        return None
    found = find_schema(schema)
    spec = pinned((entry for text in extractors for entry in parse_text(text)), archives(code))
    return Input(found, Composite.parse(spec or ["identity"], found.names))


def _planned(plan: str, name: str | None) -> Input:
    inputs = load_plan_file(plan).inputs(lambda wanted: find_schema(wanted, Path(plan).parent))
    names = ", ".join(schema.name for schema, _ in inputs)
    found = [Input(schema, extractor) for schema, extractor in inputs if name in (None, schema.name)]
    if not found:
        raise InvalidSettings(f"--schema is {name!r}; the plan's schemas are: {names}")
    if len(found) > 1:
        raise InvalidSettings(f"the plan has schemas {names}: say with --schema which one the model is for")
    return found[0]


def rows_of(telemetry: Telemetry, extractor: Composite) -> Rows:
    """Rows of the file's readings without those that are warming.

    A reading that is not finite would be a dead letter: it is left out before, so that the extractor doesn't see it either.
    """
    finite = telemetry.finite()
    features, warming = extractor.extract(finite.frame(), extractor.table())
    rows = Rows(features[~warming], None if finite.labels is None else finite.labels[~warming])
    if len(rows.features) < 2:
        raise InvalidSettings(
            f"{telemetry.source.name}: {len(rows.features)} rows are left to train on: of {telemetry.source.rows}"
            f" {len(finite)} are finite, {np.count_nonzero(warming)} of these warming"
        )
    return rows


def features_of(telemetry: Telemetry, extractor: Composite) -> Float64:
    """Features float64[k, K] of `rows_of`, known anomalies left out as well."""
    rows = rows_of(telemetry, extractor)
    return rows.features if rows.labels is None else rows.features[~rows.labels]
