"""`swapstream backfill`: a plan over telemetry of before, as a job of its own beside production."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, InvalidSettings, Unavailable
from swapstream.models.objects import Objects
from swapstream.operators.assignment import Inherited
from swapstream.operators.cut import Cut
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.plan_file import PlanFile, load_plan_file
from swapstream.operators.token import is_token
from swapstream.scripts import inheriting
from swapstream.scripts.answers_file import write_answers
from swapstream.scripts.bounds import end_offsets
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.console import json_option, progress, say, show
from swapstream.scripts.deployments import Deployment, check_name
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.exports import Writer
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.job import cancel
from swapstream.scripts.offsets import committed_so_far
from swapstream.scripts.publish import Author, author_of, publish_plan, read_definitions
from swapstream.scripts.reading import Reading
from swapstream.scripts.remembered import Memories, warmed_up
from swapstream.scripts.spans import Section, place_of, span_options, warm_up_option, whole_sections
from swapstream.scripts.specification import first_spec
from swapstream.scripts.submission import Submission
from swapstream.scripts.topics import admin, ensure_topics
from swapstream.scripts.unanswered import answered

JOB = "detect"
OUTPUT = ("scores", "features", "anomalies", "dead_letters", "ledger", "snapshots")
DELIVERY = "exactly_once"
LOOK = 2.0
"""Seconds between looks, which take time of processors that have better things to do."""
STILL = 6.0
"""Seconds without progress, after which it may be that there is nothing more to read."""
GONE_S = 10.0


@click.command("backfill")
@click.option("--plan", "plan_file", required=True, type=click.Path(dir_okay=False), help="Plan file (YAML).")
@span_options("the first that is there", "the last that is there now")
@warm_up_option
@click.option("--deployment", help="With whose state devices begin.  [default: the one that runs here]")
@click.option("--name", "run", help="Of this run, and of what it writes: topics NAME.scores and so on.  [default: backfill-PLAN]")
@click.option("--out", type=click.Path(file_okay=False),
              help="Write scores to Parquet files by day in this directory, which must be empty or not there, and remove the topics.")
@click.option("--parallelism", type=click.IntRange(1, 128), help="Subtasks.  [default: the environment's]")
@click.option("--why", default="", help="The reason, for the definitions that are published.")
@json_option
@click.pass_obj
def backfill_command(name: str, plan_file: str, start: str | None, end: str | None, before: int | None, deployment: str | None,
                     run: str | None, out: str | None, parallelism: int | None, why: str, as_json: bool) -> None:  # fmt: skip
    """Run `detect` under a plan over a span of past telemetry, at full speed, beside production: its offsets, state, sinks and ledger stay
    as they are.

    Each record of the span is answered once, up to the last. Devices begin as they were known to a deployment then, where the plan's
    extractors are those that it ran, and warm up with records before the span where they are others, which is said. The job ends by
    itself; interrupted, it is cancelled.
    """
    environment = load_environment(name)
    plan = load_plan_file(plan_file)
    extractors = extractors_of(plan, plan_file)
    called = check_name(run or f"backfill-{plan.name}")
    wanted = whole_sections(environment, environment.topics.telemetry.name, place_of(start), place_of(end))
    if out:
        require_scores(plan)
    own = of_its_own(environment, called)
    found = Deployment(environment.job.namespace, called, JOB, parallelism or environment.job.parallelism)
    backfill = Backfill(own, found, sorted(plan.digests), wanted, Memories(environment, None, deployment, wanted, before), extractors)
    with Writer(Path(out)) if out else nullcontext() as writer:  # what can't be written is said before anything is computed
        row = backfill.run(plan_file, author_of(environment, why))
        if writer:
            row["files"] = written(own, called, writer)
    if row["warmed_up"]:
        say(f"devices warmed up {row['warmed_up']}")
    say(f"{row['records']:,} records in {row['seconds']:.1f} s")
    show([row], ["plan", "records", "seconds", "out" if out else "topics"], as_json)


def extractors_of(plan: PlanFile, path: str) -> dict[str, Composite]:
    """By schema, of a plan read from `path`. Raises UnknownName, InvalidPlan, InvalidSchema."""
    return {schema.name: extractor for schema, extractor in plan.inputs(lambda name: find_schema(name, Path(path).parent))}


def require_scores(plan: PlanFile) -> None:
    """Raises InvalidSettings."""
    if not any(route.champion for route in plan.every_route()):
        raise InvalidSettings(f"--out takes scores, and plan {plan.name!r} has no champion; its features go to a topic, without --out")


def of_its_own(environment: Environment, name: str) -> Environment:
    """The same environment, where what jobs write goes to topics of this name. Raises Conflict where there are some already."""
    topics = {role: msgspec.structs.replace(getattr(environment.topics, role), name=f"{name}.{role.replace('_', '-')}") for role in OUTPUT}
    with admin(environment) as client:
        there = sorted({topic.name for topic in topics.values()} & set(client.list_topics()))
    if there:
        raise Conflict(f"topic {there[0]} is there already; choose another --name, or remove what that run wrote")
    return msgspec.structs.replace(environment, topics=msgspec.structs.replace(environment.topics, **topics))


def written(own: Environment, called: str, writer: Writer) -> int:
    """Scores as files, and no topics any more; these stay where that fails, since to compute them was dear. Returns how many files."""
    try:
        files = write_answers(own, called, writer)
    except BaseException:
        say(f"the scores stay in topic {own.topics.scores.name}")
        raise
    remove_topics(own)
    return files


def remove_topics(own: Environment) -> None:
    """And return when they are gone, or should be: a broker that is busy goes on naming them for a while."""
    topics, until = [getattr(own.topics, role).name for role in OUTPUT], time.monotonic() + GONE_S
    with admin(own) as client:
        client.delete_topics(topics)
        while set(topics) & set(client.list_topics()) and time.monotonic() < until:
            time.sleep(0.1)


def require_all(environment: Environment, told: JobSpec) -> None:
    """Shards hold while they wait for what they need: raises Unavailable where a store, asked from here, does not give it either."""
    objects = Objects(str(environment.store), environment.models.allowed)
    Pipelines(read_definitions(environment), told.namespace, objects).get(told.plan)
    for state in told.inherited.values():
        objects.get(state.digest, state.size, state.where)


class Backfill(Submission):
    """A span about to be answered. `environment`: with topics of its own. Methods raise SwapstreamError."""

    def __init__(
        self, environment: Environment, deployment: Deployment, code: list[str], wanted: Mapping[int, Section], memories: Memories,
        extractors: Mapping[str, Composite],
    ) -> None:  # fmt: skip
        super().__init__(environment, deployment, None, code)
        self.wanted, self.memories = wanted, memories
        self.spans = {partition: (one.span.first, one.span.last) for partition, one in wanted.items()}
        self.known = {partition: memories.of(partition, extractors) for partition in wanted}
        self.inherited: dict[int, Inherited] = {}
        self._ends: list[dict[int, int]] = []

    @property
    def begins(self) -> dict[int, int]:
        """The first offset to be read of each partition."""
        return {partition: one.offset for partition, one in self.known.items()}

    def run(self, plan_file: str, author: Author) -> dict[str, Any]:
        """Answer all of it; the job is gone afterwards, however that ends."""
        began = time.monotonic()
        ensure_topics(self.environment)
        try:
            self._leave_states()
            with self.deployments.lock(self.deployment.name):
                self._check()
                plan, definitions = publish_plan(self.environment, self.deployment.namespace, plan_file, author)
                told = self._told(plan.digest, definitions.position, self.begins, DELIVERY)
                self._go(told)
            self._wait_for_all(told)
            cancel(self.environment, self.deployment.name)
        except BaseException:
            self._give_up()
            raise
        finally:
            self.deployments.remove(self.deployment.name)
            inheriting.remove(self.environment, self.inherited.values())
        records = sum(max(0, last + 1 - first) for first, last in self.spans.values())
        return {"plan": plan.name, "plan_digest": plan.digest, "records": records, "seconds": round(time.monotonic() - began, 1),
                "warmed_up": warmed_up(self.known, self.wanted),
                "topics": ", ".join(getattr(self.environment.topics, role).name for role in OUTPUT), "spans": self.spans}  # fmt: skip

    def _leave_states(self) -> None:
        """What devices are known by must reach the job's shards; where the store does not take it they warm up."""
        for partition, one in self.known.items():
            if one.state:
                try:
                    self.inherited[partition] = inheriting.leave(self.environment, self.deployment.full_name, one.state)
                except Unavailable as error:
                    self.known[partition] = self.memories.without(partition, str(error))

    def _give_up(self) -> None:
        """Nothing of it may stay: what it wrote is of no use to anybody."""
        if self.deployments.find(self.deployment.name):
            cancel(self.environment, self.deployment.name)
        remove_topics(self.environment)

    def _told(self, plan: str, end: int, offsets: dict[int, int], delivery: Any) -> JobSpec:
        told = first_spec(self.environment, self.deployment, plan, end, offsets, delivery, self.code)
        return msgspec.structs.replace(told, spans=self.spans, inherited=self.inherited, snapshot_every_ms=0)

    def _wait_for_all(self, told: JobSpec) -> None:
        """Until every record of the span is answered, and that is committed."""
        todo = {partition: last + 1 - self.begins[partition] for partition, (first, last) in self.spans.items() if last >= first}
        with admin(self.environment) as client, progress() as bar:
            task = bar.add_task(f"answering as {self.deployment.name}", total=sum(todo.values()))
            done, since = -1, time.monotonic()
            while True:
                self._look()
                read = committed_so_far(client, self.environment, told.group)
                now = sum(min(count, max(0, read.get(partition, 0) - self.begins[partition])) for partition, count in todo.items())
                bar.update(task, completed=now)
                if now > done:
                    done, since = now, time.monotonic()
                # Offsets have holes: the last ones may be no records, and never be read.
                still = time.monotonic() - since > STILL
                if (still or now == sum(todo.values())) and self._at_rest() and not self._unanswered(todo):
                    bar.update(task, completed=sum(todo.values()))
                    return
                if still:
                    require_all(self.environment, told)
                time.sleep(LOOK)

    def _look(self) -> None:
        state = self.flink.state(self.job_id)
        if state in ENDED:
            raise ClusterError(f"job {self.job_id} is {state}: {self.flink.rest.exception(self.job_id) or 'somebody ended it'}")

    def _at_rest(self) -> bool:
        """Whether no output has grown since this was asked last. To read all of it costs time that the job had better have."""
        topics, before = self.environment.topics, self._ends
        self._ends = [end_offsets(self.environment, topic.name) for topic in (topics.scores, topics.features, topics.dead_letters)]
        return self._ends == before

    def _unanswered(self, partitions: Mapping[int, int]) -> bool:
        """Whether some record of the span is in no output yet: the job has read it, and may not have done with it. Records are answered in
        their order, so it is the last ones."""
        whole = Cut(self.deployment.namespace, self.deployment.name, 0, "", self.environment.topics.telemetry.name,
                    {partition: self.spans[partition][1] + 1 for partition in partitions})
        last = answered(self.environment, whole)
        return any(self._more(partition, max(last.get(partition, -1) + 1, self.spans[partition][0])) for partition in partitions)

    def _more(self, partition: int, first: int) -> bool:
        """Whether there is a reading in the rest of a partition's span, from an offset on."""
        last = self.spans[partition][1]
        with Reading(self.environment, self.environment.topics.telemetry.name, {partition: first}, {partition}) as reading:
            rest = takewhile(lambda record: record.offset <= last, iter(reading.next, None))
            return any(not is_token(record.value) for record in rest)
