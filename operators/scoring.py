"""A shard's records under the plan in force: decoded, extracted, scored, put into messages; and the device tables behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from swapstream.operators.assignment import Assignment
from swapstream.operators.frame import Frame, RawFrame
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.outputs import Chain, Emission, answers, chained, dead
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.readers import Bad
from swapstream.operators.scored import Scored
from swapstream.operators.scores import Provenance
from swapstream.operators.tables import Outline, Tables

DECODED_AT_ONCE = 1024 * 1024
"""Bytes of columnar messages: enough to spread costs, and little enough for the processor's caches."""


Decoded = tuple[list[tuple[LoadedInput, Frame]], Sequence[Bad]]
"""Readings by schema, and what is none."""
Witness = Callable[[Scored, LoadedInput, Provenance], None]
"""Is shown every frame that is answered, beside its messages."""


class Scoring:
    """One plan at a time. `digest`: the plan's, "" before the start. `chains`: the last readings sent, by schema. `witness` looks on."""

    def __init__(self, partition: int, assignment: Assignment) -> None:
        self.witness: Witness | None = None
        self._partition = partition
        self._assignment = assignment
        self.pipeline: Pipeline | None = None
        self.tables: Tables | None = None
        self.epoch = 0
        self.digest = ""
        self.chains: dict[str, Chain] = {}
        self._outline: Outline | None = None

    def activate(self, pipeline: Pipeline, epoch: int) -> None:
        """Go on under another plan; state of extractors that stay the same is carried over.

        What this job has run must go on, so state whose migration fails begins anew. Of what another job left, it raises InvalidDefinition.
        """
        if self.tables is None or self._outline is None:
            self.tables = Tables.new(pipeline)
        else:
            self.tables = self.tables.carried(self._outline, pipeline, lose=self.pipeline is not None)
        self._under(pipeline, epoch)

    def unfit(self, pipeline: Pipeline) -> str:
        """Why the state of devices could not go on under a plan, "" where it could."""
        return self.tables.unfit(self._outline, pipeline) if self.tables and self._outline else ""

    def restore(self, pipeline: Pipeline, epoch: int, chains: dict[str, Chain], entries: Mapping[str, bytes]) -> None:
        """Take over what was written. Raises InvalidDefinition."""
        self.tables, self.chains = Tables.restored(pipeline, entries), chains
        self._under(pipeline, epoch)

    def fork(self, outline: Outline, digest: str, epoch: int, chains: dict[str, Chain], entries: Mapping[str, bytes]) -> None:
        """Take over what another job wrote under a plan that need not run here: `activate` comes before any record."""
        self.tables, self.chains = Tables.read(outline, entries), chains
        self._outline, self.digest, self.epoch = outline, digest, epoch

    def _under(self, pipeline: Pipeline, epoch: int) -> None:
        self.pipeline, self.digest, self.epoch = pipeline, pipeline.digest, epoch
        self._outline = Outline.of(pipeline)

    def score(self, raw: RawFrame, start: int, stop: int) -> list[Emission]:
        """The records from start to stop (exclusive), none of which is a token."""
        emissions: list[Emission] = []
        assert self.tables is not None
        for frames, bad in self._decoded(raw, start, stop):
            emissions += dead(self._assignment, raw, bad)
            for part, frame in frames:
                emissions += self._answer(part.process(frame, self.tables[part.schema.name]), part)
        return emissions

    def follow(self, raw: RawFrame, start: int, stop: int) -> None:
        """The same records, without an answer: state and chains are then as if they had been scored, and no model is asked."""
        assert self.tables is not None
        for frames, _ in self._decoded(raw, start, stop):
            for part, frame in frames:
                name = part.schema.name
                part.extractor.extract(frame, self.tables[name])
                self.chains = {**self.chains, name: chained(frame, part, self.chains.get(name, Chain()))}

    def _decoded(self, raw: RawFrame, start: int, stop: int) -> Iterator[Decoded]:
        """What is in the records from start to stop (exclusive), in their order but for the schemas in a run of them."""
        assert self.pipeline is not None
        for first, last in self._portions(raw, start, stop):
            frames, bad = self.pipeline.decoders.decode(raw, first, last)
            parts = zip(self.pipeline.inputs.values(), frames, strict=True)
            yield [(part, frame) for part, frame in parts if len(frame)], bad

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
        if self.witness:
            self.witness(scored, part, provenance)
        emissions, chain = answers(scored, part, provenance, self.chains.get(schema, Chain()))
        self.chains = {**self.chains, schema: chain}
        return emissions
