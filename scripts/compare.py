"""`swapstream compare`: what another plan would have said of telemetry of before, beside what one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from swapstream.scripts.rerun import FRAME, frames
from swapstream.scripts.spans import place_of, span_options, warm_up_option, whole_sections
from swapstream.scripts.submitted import the_deployment
from swapstream.scripts.trial import MEASURES, QUALITY, Trial, rows_of, sheet

AGREEMENT = ("records", "both", "only_first", "only_second", "agreement", "kappa", "rank_correlation")


@click.command("compare")
@click.argument("plan_a")
@click.argument("plan_b")
@span_options("the first that is there", "the last")
@warm_up_option
@click.option("--schema", help="Of which of the plans' schemas, where there are several.")
@click.option("--deployment", help="Whose plans are meant by epoch:N [default: the one that runs here].")
@click.option("--plot", type=click.Path(dir_okay=False), help="A picture: scores of both, thresholds, labels, anomalies.")
@json_option
@click.pass_obj
def compare_command(name: str, plan_a: str, plan_b: str, start: str | None, end: str | None, before: int, schema: str | None,
                    deployment: str | None, plot: str | None, as_json: bool) -> None:  # fmt: skip
    """Run PLAN_A and PLAN_B over a span of telemetry and say how they agree: alarms of each, and against labels where there are.

    A plan is a file, or epoch:N, the one that a deployment ran or runs in that epoch. Nothing of production is touched; precision, recall
    and average precision are scikit-learn's.
    """
    environment = load_environment(name)
    first, second = (pipeline_of(environment, text, deployment) for text in (plan_a, plan_b))
    comparison = Comparison(first, second, schema)
    run(environment, comparison, start, end, before)
    topic = environment.topics.telemetry.name
    trials = comparison.trials(read_labels(environment), topic)
    present(first.plan, second.plan, trials, as_json)
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


def run(environment: Environment, comparison: Comparison, start: str | None, end: str | None, before: int) -> None:
    """Read the span of every partition, and some records before. Raises InvalidSettings, ClusterError."""
    topic = environment.topics.telemetry.name
    wanted = whole_sections(environment, topic, place_of(start), place_of(end))
    begins = {partition: one.warmed(before) for partition, one in wanted.items()}
    with progress() as bar:
        task = bar.add_task("comparing", total=sum(max(0, one.span.last + 1 - begins[partition]) for partition, one in wanted.items()))
        for partition, one in wanted.items():
            done = begins[partition]
            with Reading(environment, topic, {partition: done}, {partition}, most=FRAME) as reading:
                for offset in comparison.partition(frames(reading, partition, one.span.last), one.span.first):
                    bar.advance(task, offset + 1 - done)
                    done = offset + 1


def present(first: Plan, second: Plan, trials: tuple[Trial, Trial], as_json: bool) -> None:
    """A column for each plan's roles, and how the plans agree; as JSON a row a role, and one for the agreement."""
    rows: list[dict[str, Any]] = []
    for plan, trial in zip((first, second), trials, strict=True):
        rows += [{"plan": plan.name, "plan_digest": plan.digest, **row} for row in rows_of(trial)]
    both = agreement(*trials)
    if as_json:
        show([*rows, {"plan": None, **both}], (), True)
        return
    measures = MEASURES if trials[0].labels is None else MEASURES + QUALITY
    table = sheet([row | {"role": f"{row['plan']}: {row['role']}"} for row in rows], measures)
    show(table, list(table[0]), False, f"{len(trials[0].frame):,} readings")
    show([both], AGREEMENT, False, f"{first.name} (first) and {second.name} (second)")
