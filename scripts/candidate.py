"""A model that stands for a plan's champion: what it would read there, and how it does next to the one that is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.finding import Check, Finding, found
from swapstream.models.schema import Schema
from swapstream.models.store import Store
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Pin, Plan, Require
from swapstream.operators.plan_file import PlanFile
from swapstream.scripts.catalogue import Files, Resolved
from swapstream.scripts.console import say
from swapstream.scripts.derive import chosen, reached, with_champion
from swapstream.scripts.environment import Environment
from swapstream.scripts.files import Columns
from swapstream.scripts.quality import compare, judged, nothing
from swapstream.scripts.samples import Sample, last, of_file, of_telemetry


class Asked(msgspec.Struct, frozen=True):
    """A plan, which of its routes the model is for, and the records to measure it on; None where nobody asks."""

    plan: str | None
    route: str | None
    records: str | None
    columns: Columns
    schema: str | None


class Candidate:
    """The model as champion of a plan's routes, beside that plan as it is."""

    def __init__(self, environment: Environment, file: PlanFile, plan: Plan, artifact: Artifact, asked: Asked) -> None:
        files = Files(environment, Path(asked.plan or "").parent)
        self.environment, self.plan, self.artifact, self.asked = environment, plan, artifact, asked
        self.schemas = [files.schema(name) for name in file.schemas]
        self.lookup = Lookup(self.schemas, files.store, artifact)

    @property
    def features(self) -> tuple[str, ...]:
        """What the extractor yields where the model is to score; of several the first that isn't what it reads."""
        names = {name for place in chosen(self.plan, self.artifact.manifest.name, self.asked.route) for name in reached(self.plan, place)}
        pairs = zip(self.plan.inputs, self.schemas, strict=True)
        found = [Composite.parse(list(one.extractor), schema.names).features for one, schema in pairs if schema.name in names]
        return next((features for features in found if features != self.artifact.manifest.features), found[0])

    def findings(self) -> Iterator[Finding]:
        one = found(self.artifact.ref, Check("plan", "takes it as its champion", self._fits))
        yield one
        if not one.ok:
            return
        if self.asked.records is not None:
            yield from self._measured(self.asked.records)
        elif self.plan.require != Require():
            say(f"plan {self.plan.name!r} requires what only --against can tell")

    def _fits(self) -> str:
        return f"plan {self.with_model.name}"

    @cached_property
    def with_model(self) -> Plan:
        return with_champion(self.plan, self.artifact, self.schemas, self.asked.route)

    def _measured(self, records: str) -> Iterator[Finding]:
        pipeline, before = Pipeline(self.with_model, self.lookup), Pipeline(self.plan, self.lookup)
        compared = [one for one in compare(pipeline, before, self._samples(records, pipeline))
                    if one.champion.model == self.artifact.ref]
        for one in compared:
            yield from judged(one, self.plan.require)
        if not compared:
            yield nothing()

    def _samples(self, records: str, pipeline: Pipeline) -> list[Sample]:
        count = last(records)
        if count is not None:
            return of_telemetry(self.environment, self.schemas, count)
        return [of_file(records, pipeline.input(self.asked.schema).schema, self.asked.columns)]


class Lookup(Resolved):
    """A plan's parts, and a model that need not be in the store."""

    def __init__(self, schemas: Iterable[Schema], store: Store, artifact: Artifact) -> None:
        super().__init__(schemas, store)
        self._artifact = artifact

    def model(self, pin: Pin) -> Artifact:
        return self._artifact if pin.digest == self._artifact.digest else super().model(pin)
