"""`swapstream export`: a span of a deployment's readings with their features, scores and labels, as Parquet by day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import click
import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.operators.batches import Batch, Made, archived
from swapstream.operators.chaining import Owner
from swapstream.operators.frame import Int64
from swapstream.operators.labels import Labels
from swapstream.operators.loaded_input import archive_of
from swapstream.operators.scores import Archive
from swapstream.operators.verification import Span
from swapstream.scripts.beside import Beside
from swapstream.scripts.computed import computed
from swapstream.scripts.console import json_option, progress, say, show
from swapstream.scripts.deployed_input import Deployed, input_in_force
from swapstream.scripts.emitted import Emitted
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.exports import About, Writer, column_of, counted, table_of
from swapstream.scripts.labels import read_labels
from swapstream.scripts.remembered import Memories, Remembered, warmed_up
from swapstream.scripts.rerun import EVERYTHING
from swapstream.scripts.spans import Place, Section, deleted, place_of, sections, span_options, whole_sections

Kind = Literal["features", "telemetry"]


class Part(NamedTuple):
    """A batch, and the plan under which its features were made."""

    batch: Batch
    plan: str


class Ends(NamedTuple):
    """What is asked for, each None where nothing is said."""

    start: Place | None
    end: Place | None


@click.command("export")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Directory, which must be empty or not there.")
@span_options("what is left", "the last that is there")
@click.option("--deployment", help="Which deployment.  [default: the one that runs here]")
@click.option("--namespace", help="Of which namespace.  [default: the environment's]")
@click.option("--schema", help="Which of its plan's schemas, where there are several.")
@click.option("--source", type=click.Choice(["features", "telemetry"]),
              help="The archive, or telemetry run through the plan in force.  [the archive, where it has something of the span]")
@json_option
@click.pass_obj
def export_command(name: str, out: Path, start: str | None, end: str | None, deployment: str | None, namespace: str | None,
                   schema: str | None, source: Kind | None, as_json: bool) -> None:
    """Write a span of a deployment's readings into a directory of Parquet files, by day of event time.

    A row has the record's topic, partition, offset and index, device, time, the features exactly as the models saw them, whether it was
    warming, what the deciding model said, and its label, null where nobody gave one. Features of private fields are left out. The directory
    appears when all of it is written.
    """
    environment = load_environment(name)
    deployed = input_in_force(environment, namespace, deployment, schema)
    export = Export(environment, deployed, Ends(place_of(start), place_of(end)), source)
    about = export.write(out)
    columns = ("partition", "from", "to", "rows")
    rows = [{"partition": part.partition, "from": part.first, "to": part.last, "rows": part.rows} for part in about.slices]
    told = {"rows": about.rows, "labelled": about.labelled, "anomalies": about.anomalies, "scored": about.scored}
    if as_json:
        days = len({path.split("/")[0] for path in about.files})
        show([told | {"out": str(out), "source": about.source, "warmed_up": export.warmed, "slices": rows, "days": days}], (), True)
        return
    show(rows, columns, False, f"{out}, from {'the archive' if about.source == 'features' else 'telemetry'}")
    if export.warmed:
        say(f"devices warmed up {export.warmed}")
    say(", ".join(f"{value:,} {key}" for key, value in told.items()))


class Export:
    """One export of one deployment's readings of one schema."""

    def __init__(self, environment: Environment, deployed: Deployed, ends: Ends, source: Kind | None) -> None:
        self.environment, self.deployed, self.ends, self.source = environment, deployed, ends, source
        self.topic = environment.topics.telemetry.name
        self.schema = deployed.given.schema
        self.counts = {"labelled": 0, "anomalies": 0, "scored": 0}
        self.slices: dict[int, list[Int64]] = {}
        self.plans: dict[str, None] = {}
        self.made: Made | None = None
        self.warmed: str | None = None

    def write(self, out: Path) -> About:
        """Raises Conflict, InvalidSettings, UnknownName, ClusterError, OSError: with nothing written."""
        with Writer(out) as writer, progress() as bar:
            kind, parts, spans = self._chosen()
            task = bar.add_task(f"exporting {self.deployed.namespace}/{self.deployed.deployment}", total=None)
            labels = read_labels(self.environment)
            for partition, found in parts.items():
                beside = Beside(Emitted(self.environment, "scores", self._owner(partition), spans[partition]).frames())
                for part in found:
                    self._add(writer, part, labels, beside)
                    bar.advance(task, len(part.batch))
            if self.made is None:
                raise UnknownName(f"no reading of schema {self.schema.name!r} lies in the span")
            if kind == "features" and self.ends.end is None:
                self._say_what_is_missing(spans)
            return writer.finish(self._about(kind, self.made))

    # -- where the features come from

    def _chosen(self) -> tuple[Kind, Mapping[int, Iterator[Part]], Mapping[int, Span]]:
        if self.source != "telemetry":
            spans = self._archived_spans()
            parts = {partition: begun(self._archived(partition, span)) for partition, span in spans.items()}
            if any(found is not None for found in parts.values()):
                return "features", {partition: found for partition, found in parts.items() if found is not None}, spans
            if self.source == "features":
                raise UnknownName("nothing of the span was archived: that a plan with a decoy does, or without a champion; "
                                  "--source telemetry computes the features")  # fmt: skip
            say("nothing of the span was archived; its features are computed from telemetry, under the plan in force")
        wanted = whole_sections(self.environment, self.topic, *self.ends)
        return "telemetry", self._computed(wanted), {partition: section.span for partition, section in wanted.items()}

    def _archived_spans(self) -> dict[int, Span]:
        """The archive may reach further back than telemetry does: offsets are taken as they are given; times are telemetry's."""
        start, end = self.ends
        timed = start is not None and not isinstance(start, int)
        found = {}
        for partition, section in (whole_sections if timed else sections)(self.environment, self.topic, start, end).items():
            first = start if isinstance(start, int) else section.span.first if timed else 0
            found[partition] = Span(first, section.span.last if end is not None else EVERYTHING)
        return found

    def _archived(self, partition: int, span: Span) -> Iterator[Part]:
        """Raises InvalidSettings where the first that is left was not the first of the span."""
        wanted = self.ends.start is not None
        for frame in Emitted(self.environment, "features", self._owner(partition), span).frames():
            if wanted and frame.prev >= span.first:
                raise deleted(self.environment.topics.features.name, {partition: frame.first})
            if wanted and frame.first > span.first:
                say(f"{self.topic}-{partition}: archived from offset {frame.first} on")
            wanted = False
            yield Part(archived(frame).within(span.first, span.last), frame.provenance.plan_digest)

    def _computed(self, wanted: Mapping[int, Section]) -> dict[int, Iterator[Part]]:
        """Through the plan's extractor, which goes on from what the shards remembered; without features of private fields."""
        deployed, given = self.deployed, self.deployed.given
        memories = Memories(self.environment, deployed.namespace, deployed.deployment, wanted, None)
        memory = {partition: memories.of(partition, {self.schema.name: given.extractor}) for partition in wanted}
        self.warmed = warmed_up(memory, wanted)
        archive = archive_of(given.extractor, given.schema)
        return {
            partition: (
                Part(opened(batch, archive), deployed.plan.digest)
                for batch in computed(self.environment, self.topic, partition, section, given, memory[partition])
            )
            for partition, section in wanted.items()
        }

    def _owner(self, partition: int) -> Owner:
        return Owner(self.deployed.namespace, self.deployed.deployment, self.topic, partition, self.schema.name)

    def _say_what_is_missing(self, spans: Mapping[int, Span]) -> None:
        """Whether telemetry goes on where the archive ends: a job that is behind archives it later, a plan that scores never does."""
        for partition, section in sections(self.environment, self.topic, None, None).items():
            archived = self.slices.get(partition)
            begin = int(archived[-1][-1]) + 1 if archived else max(spans[partition].first, section.beginning)
            behind = msgspec.structs.replace(section, span=Span(begin, section.span.last))
            batches = computed(self.environment, self.topic, partition, behind, self.deployed.given, Remembered(begin))
            if batch := next(batches, None):
                say(f"{self.topic}-{partition}: readings from offset {int(batch.offsets[0])} on are not archived, or not yet")

    # -- what is written

    def _add(self, writer: Writer, part: Part, labels: Labels, beside: Beside) -> None:
        batch = part.batch
        if not len(batch):
            return
        self._check(batch)
        there, anomalous = batch.labelled(labels, self.topic)
        answers = beside.answers(batch)
        writer.add(batch.partition, table_of(batch, self.topic, (there, anomalous), answers), batch.times)
        self.slices.setdefault(batch.partition, []).append(batch.offsets)
        self.plans[part.plan] = None
        for name, which in (("labelled", there), ("anomalies", anomalous), ("scored", np.isfinite(answers.scores))):
            self.counts[name] += int(np.count_nonzero(which))

    def _check(self, batch: Batch) -> None:
        """A table has the same columns from beginning to end."""
        if self.made is None:
            self.made = batch.made
        elif self.made != batch.made:
            raise InvalidSettings(f"from {self.topic}-{batch.partition}:{int(batch.offsets[0])} on features are those of extractor "
                                  f"{batch.made.extractor}, before of {self.made.extractor}: export one span for each")  # fmt: skip

    def _about(self, kind: Kind, made: Made) -> About:
        deployed, extractor = self.deployed, self.deployed.given.extractor
        ours = made.extractor == extractor.ref
        return About(
            deployed.namespace, deployed.deployment, self.topic, self.schema.name, kind, made.extractor, made.features,
            extractor.shape if ours and made.features == extractor.features else (),
            tuple(name for name in extractor.features if name not in made.features) if ours else (),
            tuple(map(column_of, made.features)), tuple(self.plans), counted(self.slices), self.counts["labelled"],
            self.counts["anomalies"], self.counts["scored"],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip


def begun(parts: Iterator[Part]) -> Iterator[Part] | None:
    """The same; None where there is nothing."""
    first = next(parts, None)

    def whole(first: Part) -> Iterator[Part]:
        yield first
        yield from parts

    return None if first is None else whole(first)


def opened(batch: Batch, archive: Archive) -> Batch:
    """Without the features that are not archived."""
    made = Made(batch.made.extractor, archive.names)
    return msgspec.structs.replace(batch, made=made, features=batch.features[:, archive.places])

