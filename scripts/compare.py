"""`swapstream compare`: what another plan would have said of telemetry of before, beside what one says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from swapstream.models.errors import UnknownName
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Plan
from swapstream.scripts.catalogue import local_pipeline
from swapstream.scripts.comparing import Comparison, agreement, side_by_side
from swapstream.scripts.console import json_option, progress, say, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.known import known_of
from swapstream.scripts.labels import read_labels
from swapstream.scripts.quality import Here
from swapstream.scripts.reading import Reading
from swapstream.scripts.remembered import Memories, warmed_up
from swapstream.scripts.rerun import FRAME, frames
from swapstream.scripts.spans import Section, place_of, span_options, warm_up_option, whole_sections
from swapstream.scripts.submitted import the_deployment
from swapstream.scripts.trial import MEASURES, QUALITY, Trial, rows_of, sheet


class Told(NamedTuple):
    """A plan, what it said, and where devices warmed up for it."""

    plan: Plan
    trial: Trial
    warmed: str | None


AGREEMENT = ("records", "both", "only_first", "only_second", "agreement", "kappa", "rank_correlation")


@click.command("compare")
@click.argument("plan_a")
@click.argument("plan_b")
@span_options("the first that is there", "the last")
@warm_up_option
@click.option("--schema", help="Of which of the plans' schemas, where there are several.")
@click.option("--deployment", help="Whose plans are meant by epoch:N, and with whose state devices begin.  "
                                   "[default: the one that runs here]")
@click.option("--plot", type=click.Path(dir_okay=False), help="A picture: scores of both, thresholds, labels, anomalies.")
@json_option
@click.pass_obj
def compare_command(name: str, plan_a: str, plan_b: str, start: str | None, end: str | None, before: int | None, schema: str | None,
                    deployment: str | None, plot: str | None, as_json: bool) -> None:  # fmt: skip
    """Run PLAN_A and PLAN_B over a span of telemetry and say how they agree: alarms of each, and against labels where there are.

    A plan is a file, or epoch:N, the one that a deployment ran or runs in that epoch. Devices begin as they were known to the deployment
    then, where the plan's extractors are those that it ran, and warm up with records before the span where they are others, which is
    said. Nothing of production is touched; precision, recall and average precision are scikit-learn's.
    """
    environment = load_environment(name)
    first, second = (pipeline_of(environment, text, deployment) for text in (plan_a, plan_b))
    comparison = Comparison(first, second, schema)
    topic = environment.topics.telemetry.name
    wanted = whole_sections(environment, topic, place_of(start), place_of(end))
    warmed = run(environment, comparison, wanted, Memories(environment, None, deployment, wanted, before))
    trials = comparison.trials(read_labels(environment), topic)
    present([Told(first.plan, trials[0], warmed[0]), Told(second.plan, trials[1], warmed[1])], as_json)
    if plot:
        from swapstream.scripts.plot import draw  # matplotlib takes a second to import

        draw(side_by_side(*trials), Path(plot))
        say(f"wrote {plot}")


def pipeline_of(environment: Environment, text: str, deployment: str | None) -> Pipeline:
    """A plan file's, or that of a deployment's epoch. Raises UnknownName, InvalidPlan."""
    epoch = text.removeprefix("epoch:")
    if epoch == text or not epoch.isdecimal():
        return local_pipeline(environment, text)
    known = known_of(environment, environment.job.namespace, the_deployment(environment, deployment))
    for step in known.history:
        if step.epoch == int(epoch):
            return Pipeline(known.plan(step.plan), Here((), known))
    there = ", ".join(str(step.epoch) for step in known.history)
    raise UnknownName(f"{known.namespace}/{known.deployment} has no epoch {epoch}; its epochs are {there or 'not known'}")


def run(environment: Environment, comparison: Comparison, wanted: Mapping[int, Section], memories: Memories) -> list[str | None]:
    """Read the span of every partition, and what comes before; of each side where devices warmed up. Raises ClusterError."""
    topic = environment.topics.telemetry.name
    known = [{partition: memories.of(partition, side.extractors) for partition in wanted} for side in comparison.sides]
    begins = {partition: min(one[partition].offset for one in known) for partition in wanted}
    with progress() as bar:
        task = bar.add_task("comparing", total=sum(max(0, one.span.last + 1 - begins[partition]) for partition, one in wanted.items()))
        for partition, one in wanted.items():
            done = begins[partition]
            with Reading(environment, topic, {partition: done}, {partition}, most=FRAME) as reading:
                raws = frames(reading, partition, one.span.last)
                for offset in comparison.partition(raws, one.span.first, [side[partition] for side in known]):
                    bar.advance(task, offset + 1 - done)
                    done = offset + 1
    return [warmed_up(one, wanted) for one in known]


def present(told: Sequence[Told], as_json: bool) -> None:
    """A column for each plan's roles, and how the plans agree; as JSON a row a role, and one for the agreement."""
    rows: list[dict[str, Any]] = []
    for plan, trial, warmed in told:
        rows += [{"plan": plan.name, "plan_digest": plan.digest, **row, "warmed_up": warmed} for row in rows_of(trial)]
    first, second = told
    both = agreement(first.trial, second.trial)
    if as_json:
        show([*rows, {"plan": None, **both}], (), True)
        return
    measures = MEASURES if first.trial.labels is None else MEASURES + QUALITY
    table = sheet([row | {"role": f"{row['plan']}: {row['role']}"} for row in rows], measures)
    show(table, list(table[0]), False, f"{len(first.trial.frame):,} readings")
    show([both], AGREEMENT, False, f"{first.plan.name} (first) and {second.plan.name} (second)")
    for which, one in zip(("first", "second"), told, strict=True):
        if one.warmed:
            say(f"{one.plan.name} ({which}): devices warmed up {one.warmed}")
