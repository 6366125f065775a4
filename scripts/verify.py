"""`swapstream verify`: what a deployment put out, computed again from the logs and compared (C6)."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.table import Table

from swapstream.operators.comparison import Divergence
from swapstream.operators.verification import Span, Verified
from swapstream.scripts.console import json_option, out, say, show
from swapstream.scripts.elsewhere import unlike_here
from swapstream.scripts.environment import Delivery, load_environment
from swapstream.scripts.rerun import Rerun
from swapstream.scripts.spans import place_of, span_options, whole_sections
from swapstream.scripts.submitted import the_deployment

COUNTS = ("scores", "features", "anomalies", "dead_letters", "equal", "within tolerance", "repeats", "unanswered",
          "missing", "unexpected", "twice", "differs")  # fmt: skip
COLUMNS = ("partition", "from", "to", "state", "records", *COUNTS)
ALWAYS = ("partition", "from", "to", "state", "records", "equal")
"""Columns that people see even of zeros: all of them don't fit on a terminal."""
DIVERGED = 1


@click.command("verify")
@click.option("--deployment", help="Which deployment [default: the one that runs here].")
@click.option("--namespace", help="Of which namespace [default: the environment's].")
@span_options("where the deployment began", "the last that is answered")
@click.option("--partition", "partitions", type=int, multiple=True, help="Only this partition; may be given several times.")
@click.option("--delivery", type=click.Choice(["exactly_once", "at_least_once"]),
              help="Under at_least_once records may be there twice [default: as submitted].")
@click.option("--tolerance", type=click.FloatRange(0, 1), default=0.0,
              help="Relative difference of scores and features that is none: 1e-6 on another family of CPUs.")
@json_option
@click.pass_context
def verify_command(ctx: click.Context, deployment: str | None, namespace: str | None, start: str | None, end: str | None,
                   partitions: tuple[int, ...], delivery: Delivery | None, tolerance: float, as_json: bool) -> None:
    """Compute scores, features, anomalies and dead letters again from telemetry and parameters, and compare them with what was put out.

    Byte for byte, but for models that are not bitwise: these within their tolerance. It starts from the nearest snapshot of a shard's
    state before the first record. Exit code 1 when something diverges; the first divergence is shown with both sides.
    """
    environment = load_environment(ctx.obj)
    rerun = Rerun(environment, namespace or environment.job.namespace, the_deployment(environment, deployment),
                    delivery, tolerance)
    topic = environment.topics.telemetry.name
    wanted = whole_sections(environment, topic, place_of(start), place_of(end), partitions)
    found = list(rerun.run(wanted, start is None))
    rows = [row_of(run.span, run.state, run.verified) for run in found]
    shown = [column for column in COLUMNS if column in ALWAYS or any(row[column] for row in rows)]
    show(rows, shown, as_json, f"{rerun.namespace}/{rerun.deployment}")
    for run in found:
        if run.stuck:
            say(run.stuck)
    diverging = [run.verified.first for run in found if run.verified.first]
    if diverging and not as_json:
        out.print(both_sides(diverging[0]))
    say(f"{len(diverging)} of {len(found)} partitions diverge; first {diverging[0]}" if diverging else "no divergence")
    if diverging:
        if other := unlike_here(environment, rerun.namespace, rerun.deployment):
            say(f"computed with {'; '.join(other)} as here: equal bytes are promised for the same, see --tolerance")
        ctx.exit(DIVERGED)


def row_of(span: Span, state: int | None, verified: Verified) -> dict[str, Any]:
    """A partition's line: `state` is the offset behind which the state was known, `first` the first divergence."""
    return {"partition": verified.partition, "from": span.first, "to": span.last, "state": state, "records": verified.records,
            **{name: verified.counts.get(name, 0) for name in COUNTS}, "held": verified.held,
            "first": msgspec.to_builtins(verified.first) if verified.first else None}


def both_sides(divergence: Divergence) -> Table:
    """A divergence, field by field."""
    table = Table("field", "computed", "emitted", title=f"First divergence: {divergence}", title_justify="left")
    computed, emitted = divergence.computed or {}, divergence.emitted or {}
    for name in {**computed, **emitted}:
        marked = "bold red" if name in divergence.fields else ""
        table.add_row(name, *(repr(side[name]) if name in side else "" for side in (computed, emitted)), style=marked)
    return table
