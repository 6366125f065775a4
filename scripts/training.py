"""What a model is trained on: features of telemetry, by the code that the cluster runs, out of a file, an export or the topic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.models.manifest import Source
from swapstream.models.schema import Schema
from swapstream.operators.code import pinned
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.spec import parse_text
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.plan import Plan
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.code import archives
from swapstream.scripts.files import Telemetry


class Input(msgspec.Struct, frozen=True):
    """What stands before a model: messages of a schema, and the extractor that makes features of them. `schemas`: all of its topic's."""

    schema: Schema
    extractor: Composite
    schemas: tuple[Schema, ...]


class Rows(msgspec.Struct, frozen=True):
    """k readings to learn from, none of them warming: features float64[k, K], devices, event times (µs).

    `labels`, `labelled`: which are known anomalies, and of which anybody knows; None where nobody said anything of any. Row i comes out
    of `sources[source[i]]`.
    """

    features: Float64
    devices: Sequence[str]
    times: Int64
    labels: Bool | None
    labelled: Bool | None
    sources: tuple[Source, ...]
    source: Int64

    def __len__(self) -> int:
        return len(self.features)

    @property
    def normal(self) -> Bool:
        """Which are no known anomalies."""
        return np.ones(len(self), np.bool_) if self.labels is None else ~self.labels

    def take(self, where: Bool) -> Rows:
        """Some of them; the sources stay as they are."""
        return Rows(
            self.features[where], [self.devices[i] for i in np.flatnonzero(where).tolist()], self.times[where],
            None if self.labels is None else self.labels[where], None if self.labelled is None else self.labelled[where],
            self.sources, self.source[where],
        )  # fmt: skip


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
    return Input(found, Composite.parse(spec or ["identity"], found.names), (found,))


def _planned(plan: str, name: str | None) -> Input:
    inputs = load_plan_file(plan).inputs(lambda wanted: find_schema(wanted, Path(plan).parent))
    return chosen([Input(schema, extractor, tuple(one for one, _ in inputs)) for schema, extractor in inputs], name)


def chosen(inputs: Sequence[Input], name: str | None) -> Input:
    """Of a plan's inputs the one of a schema; None: the only one. Raises InvalidSettings."""
    names = ", ".join(one.schema.name for one in inputs)
    found = [one for one in inputs if name in (None, one.schema.name)]
    if not found:
        raise InvalidSettings(f"--schema is {name!r}; the plan's schemas are: {names}")
    if len(found) > 1:
        raise InvalidSettings(f"the plan has schemas {names}: say with --schema which one is meant")
    return found[0]


def inputs_of(plan: Plan, schemas: Sequence[Schema]) -> list[Input]:
    """What stands before the models of a resolved plan, whose schemas are these. Raises InvalidPlan."""
    return [
        Input(schema, Composite.parse(list(one.extractor), schema.names, plan.devices), tuple(schemas))
        for one, schema in zip(plan.inputs, schemas, strict=True)
    ]


def rows_of(telemetry: Telemetry, extractor: Composite) -> Rows:
    """Rows of the file's readings without those that are warming.

    A reading that is not finite would be a dead letter: it is left out before, so that the extractor doesn't see it either.
    """
    finite = telemetry.finite()
    features, warming = extractor.extract(finite.frame(), extractor.table())
    kept = Rows(
        features, finite.devices, finite.times, finite.labels, None if finite.labels is None else np.ones(len(finite), np.bool_),
        (telemetry.source,), np.zeros(len(finite), np.int64),
    ).take(~warming)  # fmt: skip
    return enough(kept, telemetry.source.name, telemetry.source.rows,
                  f"{len(finite)} are finite, {np.count_nonzero(warming)} of these warming")


def enough(rows: Rows, name: str, count: int, why: str) -> Rows:
    """The rows, if a model can be fitted to them. Raises InvalidSettings."""
    if len(rows) < 2:
        raise InvalidSettings(f"{name}: {len(rows)} rows are left to train on: of {count} {why}")
    return rows


def features_of(telemetry: Telemetry, extractor: Composite) -> Float64:
    """Features float64[k, K] of `rows_of`, known anomalies left out as well."""
    rows = rows_of(telemetry, extractor)
    return rows.features[rows.normal]
