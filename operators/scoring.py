"""A shard's records under the plan in force: decoded, extracted, scored, put into messages; and the device tables behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swapstream.operators.assignment import Assignment
from swapstream.operators.frame import RawFrame
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.outputs import Chain, Emission, answers, dead
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.scored import Scored
from swapstream.operators.scores import Provenance
from swapstream.operators.tables import Tables

DECODED_AT_ONCE = 1024 * 1024
"""Bytes of columnar messages: enough to spread costs, and little enough for the processor's caches."""


class Scoring:
    """One plan at a time. `chains`: the last readings sent, by schema."""

    def __init__(self, partition: int, assignment: Assignment) -> None:
        self._partition = partition
        self._assignment = assignment
        self.pipeline: Pipeline | None = None
        self.tables: Tables | None = None
        self.epoch = 0
        self.chains: dict[str, Chain] = {}

    @property
    def digest(self) -> str:
        """Of the plan in force, "" before the start."""
        return self.pipeline.digest if self.pipeline else ""

    def activate(self, pipeline: Pipeline, epoch: int) -> None:
        """Go on under another plan; state of extractors that stay the same is carried over."""
        before, self.pipeline, self.epoch = self.pipeline, pipeline, epoch
        if self.tables is None or before is None:
            self.tables = Tables.new(pipeline)
        else:
            self.tables = self.tables.carried(before, pipeline)

    def restore(self, pipeline: Pipeline, epoch: int, chains: dict[str, Chain], entries: Mapping[str, bytes]) -> None:
        """Take over what was written. Raises InvalidDefinition."""
        self.pipeline, self.epoch, self.chains = pipeline, epoch, chains
        self.tables = Tables.restored(pipeline, entries)

    def score(self, raw: RawFrame, start: int, stop: int) -> list[Emission]:
        """The records from start to stop (exclusive), none of which is a token."""
        emissions: list[Emission] = []
        assert self.pipeline is not None
        assert self.tables is not None
        for first, last in self._portions(raw, start, stop):
            frames, bad = self.pipeline.decoders.decode(raw, first, last)
            emissions += dead(self._assignment.topic, raw, bad)
            for part, frame in zip(self.pipeline.inputs.values(), frames, strict=True):
                if len(frame):
                    emissions += self._answer(part.process(frame, self.tables[part.schema.name]), part)
        return emissions

    def _portions(self, raw: RawFrame, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The records from start to stop (exclusive) in runs that are decoded at once."""
        assert self.pipeline is not None
        if self.pipeline.columnar:
            size = 0
            for index in range(start, stop - 1):
                size += len(raw.payloads[index] or b"")
                if size >= DECODED_AT_ONCE:
                    yield start, index + 1
                    start, size = index + 1, 0
        if start < stop:
            yield start, stop

    def _answer(self, scored: Scored, part: LoadedInput) -> list[Emission]:
        assert self.pipeline is not None
        a, schema = self._assignment, part.schema.name
        plan, ref = self.pipeline.plan.name, part.extractor.ref
        provenance = Provenance(
            a.namespace, a.deployment, a.topic, self._partition, self.epoch, plan, self.pipeline.digest, ref, schema
        )
        emissions, chain = answers(scored, part, provenance, self.chains.get(schema, Chain()))
        self.chains = {**self.chains, schema: chain}
        return emissions
