"""Running a deployment's logs again, partition by partition, beside what it put out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition, SwapstreamError, UnknownName
from swapstream.models.objects import Objects
from swapstream.operators.assignment import Assignment
from swapstream.operators.collector import calmed
from swapstream.operators.comparison import Tolerance
from swapstream.operators.definitions import Definitions
from swapstream.operators.frame import RawFrame
from swapstream.operators.lookup import DefinitionsLookup
from swapstream.operators.outputs import Role
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.plan import Pin
from swapstream.operators.recorded import Recorded
from swapstream.operators.scores import decode_scores
from swapstream.operators.scoring import Witness
from swapstream.operators.snapshots import Published
from swapstream.operators.verification import COMPARED, Memory, Span, Verification, Verified
from swapstream.scripts import kafka
from swapstream.scripts.bounds import offsets_at
from swapstream.scripts.code import look_into, without_code
from swapstream.scripts.console import progress, say
from swapstream.scripts.environment import Delivery, Environment
from swapstream.scripts.reading import Reading
from swapstream.scripts.snapshots import Known, known_of
from swapstream.scripts.spans import Section
from swapstream.scripts.submitted import submission

FRAME = 4_096
"""Records run at once. Nothing that is computed depends on it."""
MARGIN_MS = 60_000
"""So much earlier than a snapshot what follows it may have been written: sinks don't wait for each other."""
STRAGGLERS = 1.0
"""Seconds in which all parts of a transaction become visible, after one of them was at the end of its topic."""
EVERYTHING = 2**62


class Run(msgspec.Struct, frozen=True):
    """What was found in a partition; `state`: the offset behind which the state was known, None: it began without any. `memory`: what is
    known of a device behind the last record. `stuck`: why not all of it could be run, "" where it was."""

    span: Span
    state: int | None
    verified: Verified
    memory: Memory
    stuck: str = ""


class Beginning(NamedTuple):
    """Where a run starts: the state before, and when that was written (Kafka's time in ms, 0: not known)."""

    span: Span
    state: Published | None = None
    written: int = 0

    def first(self, otherwise: int) -> int:
        """The first offset to be run."""
        return self.state.about.offset + 1 if self.state else min(otherwise, self.span.first)


def beginning_of(section: Section, known: Known, from_the_start: bool) -> Beginning:
    """From the nearest state before the span. Without one: where the deployment began, if that is in it, or else (for a span
    `from_the_start` of what there is) from the first state that there is; what lies before is then not verified."""
    span = section.span
    if known.before:
        return Beginning(span, known.before, known.written)
    first = known.first
    if first and (from_the_start or first.about.why == "start"):
        return Beginning(msgspec.structs.replace(span, first=max(span.first, first.about.offset + 1)), first, known.first_written)
    return Beginning(span)


class Tolerances:
    """What is allowed to scores of models that are not bitwise, by their manifests; `everywhere`: to everything."""

    def __init__(self, definitions: Definitions, namespace: str, objects: Objects, everywhere: float) -> None:
        self._lookup = DefinitionsLookup(definitions, namespace, objects)
        self._everywhere = everywhere
        self._known: dict[tuple[str, str], Tolerance] = {("", ""): Tolerance(everywhere, 1.0)}

    def __call__(self, model: str, digest: str) -> Tolerance:
        if (model, digest) not in self._known:
            self._known[model, digest] = self._find(model, digest)
        return self._known[model, digest]

    def _find(self, model: str, digest: str) -> Tolerance:
        try:
            artifact = self._lookup.model(Pin(model, digest))
        except SwapstreamError:  # inside a token, so small, so one of ours, which are bitwise; or it never was defined
            return Tolerance(self._everywhere, 1.0)
        own = 0.0 if artifact.manifest.bitwise else artifact.manifest.tolerance
        return Tolerance(max(own, self._everywhere), float(np.median(np.abs(artifact.golden_scores))))


class Rerun:
    """One deployment's logs; `witness` sees every frame as it is answered again. Raises ClusterError; UnknownName where nothing tells with
    which plan the deployment began."""

    def __init__(
        self,
        environment: Environment,
        namespace: str,
        deployment: str,
        delivery: Delivery | None = None,
        tolerance: float = 0.0,
        witness: Witness | None = None,
    ) -> None:
        self.environment, self.namespace, self.deployment = environment, namespace, deployment
        self.topics = {role: topic.name for role, topic in environment.topics.by_role().items()}
        self._spec = submission(environment, namespace, deployment)
        usual = self._spec.delivery if self._spec else environment.job.delivery
        self._repeats = (delivery or usual) == "at_least_once"
        self._witness = witness
        self._partitions: dict[str, int] = {}
        self._definitions = Recorded()
        look_into(environment)
        objects = Objects(str(environment.store), environment.models.allowed)
        self._pipelines = Pipelines(self._definitions, namespace, objects)
        self._tolerances = Tolerances(self._definitions, namespace, objects, tolerance)

    def run(self, sections: Mapping[int, Section], from_the_start: bool) -> Iterator[Run]:
        """Every section, one after the other."""
        for record in kafka.read_to_end(self.environment, self.topics["parameters"]):
            self._definitions.read(record.offset, record.value)
        for absent in without_code(self._definitions, self.namespace):
            say(f"{absent}: what it made can't be computed again")
        known = self._known(sections)
        chosen = {partition: beginning_of(section, known[partition], from_the_start) for partition, section in sections.items()}
        for partition, one in chosen.items():
            known[partition].forks = self._taking_over(partition, one, known[partition].forks)
        firsts = {partition: min([one.first(self._start(partition)), *(fork.about.offset + 1 for fork in known[partition].forks)])
                  for partition, one in chosen.items()}
        with calmed(), progress() as bar:
            task = bar.add_task(f"running {self.namespace}/{self.deployment}",
                                total=sum(max(0, one.span.last + 1 - firsts[partition]) for partition, one in chosen.items()))
            for partition, one in chosen.items():
                self._say(partition, one)
                verified, memory = self._partition(partition, one, known[partition], firsts[partition], lambda n: bar.advance(task, n))
                yield Run(one.span, one.state.about.offset if one.state else None, verified, memory, self._stuck(verified))

    # -- where to begin

    def _known(self, sections: Mapping[int, Section]) -> dict[int, Known]:
        with Reading(self.environment, self.topics["snapshots"], "earliest") as reading:
            known = known_of(iter(reading.next, None), self.namespace, self.deployment, self.topics["telemetry"], sections)
        for one in known.values():
            for arrival in one.arrivals:
                with suppress(InvalidDefinition):
                    self._definitions.carry(arrival)
        return known

    def _taking_over(self, partition: int, one: Beginning, forks: list[Published]) -> list[Published]:
        """The forks of jobs that were handed the partition in this run; of the others nothing came out."""
        known = {fork.about.generation: fork for fork in forks}
        found = []
        for cut in self._definitions.cuts(self.namespace, self.deployment):
            token = cut.offsets.get(partition, -1)
            if cut.handover and token <= one.span.last and (one.state is None or token > one.state.about.offset):
                if cut.successor in known:
                    found.append(known[cut.successor])
                else:
                    say(f"{self.topics['telemetry']}-{partition}: no snapshot tells what generation {cut.successor} knew when it took over "
                        f"at offset {token}; taken for a swap")
        return found

    def _start(self, partition: int) -> int:
        """Where the deployment began to read, or else where the log begins."""
        return self._spec.start_offsets.get(partition, 0) if self._spec else 0

    def _say(self, partition: int, one: Beginning) -> None:
        if one.state is None:
            say(f"{self.topics['telemetry']}-{partition}: no snapshot lies before offset {one.span.first}; starts at the beginning of the "
                "log, without state")
        else:
            about = one.state.about
            say(f"{self.topics['telemetry']}-{partition}: starts behind offset {about.offset}, from the snapshot of epoch {about.epoch}")

    def _assignment(self, partition: int, one: Beginning) -> Assignment:
        if self._spec:
            plan, end = self._spec.plan, self._spec.parameters_end
        else:
            plan, end = one.state.about.plan if one.state else self._first_plan(partition), 0
        return Assignment(self.namespace, self.deployment, self.topics["telemetry"], plan, end)

    def _first_plan(self, partition: int) -> str:
        """The plan of the first frame that the shard put out."""
        for role in ("scores", "features"):
            for record in kafka.read_to_end(self.environment, self.topics[role]):
                with suppress(InvalidDefinition):
                    where = decode_scores(record.value or b"").provenance
                    if (where.namespace, where.deployment, where.partition) == (self.namespace, self.deployment, partition):
                        return where.plan_digest
        raise UnknownName(f"{self.namespace}/{self.deployment} was not submitted from here, and has put out nothing of "
                          f"{self.topics['telemetry']}-{partition}")

    def _stuck(self, verified: Verified) -> str:
        if verified.held is None:
            return ""
        why = "; ".join(self._pipelines.away) or "`parameters` does not say enough"
        return f"{self.topics['telemetry']}-{verified.partition}: what begins at offset {verified.held} can't be run again: {why}"

    # -- one partition

    def _partition(
        self, partition: int, one: Beginning, known: Known, first: int, advance: Callable[[int], None]
    ) -> tuple[Verified, Memory]:
        lives = [life for life in known.lives if one.state is None or life.about.offset > one.state.about.offset]
        verification = Verification(
            partition, self._assignment(partition, one), self._definitions, self._pipelines, one.span, before=one.state,
            lives=lives, forks=known.forks, begins=known.begins, repeats_allowed=self._repeats, tolerances=self._tolerances,
            witness=self._witness,
        )  # fmt: skip
        with ExitStack() as stack:
            emitted = {role: stack.enter_context(self._emitted(role, partition, one.written)) for role in COMPARED}
            opened = time.monotonic()
            telemetry = stack.enter_context(
                Reading(self.environment, self.topics["telemetry"], {partition: first}, {partition}, most=FRAME))
            for raw in frames(telemetry, partition, one.span.last):
                self._take(verification, emitted, int(raw.offsets[-1]))
                verification.records(raw)
                advance(int(raw.offsets[-1]) + 1 - first)
                first = int(raw.offsets[-1]) + 1
            self._take(verification, emitted, EVERYTHING)
            if one.span.open:
                verification.settle()
                time.sleep(max(0.0, opened + STRAGGLERS - time.monotonic()))
                for reading in emitted.values():
                    reading.extend()
                self._take(verification, emitted, EVERYTHING)
        return verification.finish(), verification.memory

    def _emitted(self, role: Role, partition: int, written: int) -> Reading:
        """What came out, from a while before a snapshot was written on; of one partition where the shard's messages all lie in it."""
        topic = self.topics[role]
        start: kafka.Start = offsets_at(self.environment, topic, written - MARGIN_MS) if written else "earliest"
        if topic not in self._partitions:
            self._partitions[topic] = kafka.partition_count(self.environment, topic)
        alike = self._spec is not None and partition < self._spec.partitions == self._partitions[topic]
        return Reading(self.environment, topic, start, {partition} if alike and role != "anomalies" else None)

    def _take(self, verification: Verification, emitted: Mapping[Role, Reading], offset: int) -> None:
        """Read on, until the records up to an offset may be run."""
        while role := verification.behind(offset):
            record = emitted[role].next()
            if record is None:
                verification.end(role)
            elif record.value is not None:
                try:
                    verification.take(role, record.value)
                except InvalidDefinition as error:
                    say(f"{self.topics[role]} {record.partition}:{record.offset}: {error}")


def frames(reading: Reading, partition: int, last: int) -> Iterator[RawFrame]:
    """A partition's records up to offset `last`, as frames."""
    while records := reading.some():
        inside = records if records[-1].offset <= last else [record for record in records if record.offset <= last]
        if inside:
            yield frame_of(inside, partition)
        if len(inside) < len(records):
            return


def frame_of(records: Sequence[kafka.Record], partition: int) -> RawFrame:
    offsets, timestamps = (np.array(column, np.int64) for column in ([r.offset for r in records], [r.timestamp for r in records]))
    return RawFrame(partition, [r.value for r in records], offsets, timestamps, [r.key for r in records])
