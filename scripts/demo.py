"""`swapstream demo`: everything once, on this machine: cluster, models, job, telemetry with known faults, a swap, the sums."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import click

from swapstream.models.errors import ClusterError, UnknownName
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import acknowledgements
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.cluster import down, up
from swapstream.scripts.console import say, show
from swapstream.scripts.controller import swap
from swapstream.scripts.demo_feed import Feed
from swapstream.scripts.demo_models import store_models
from swapstream.scripts.demo_screen import Screen
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import CONF, Environment, load_environment, recorded
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.job import cancel
from swapstream.scripts.processes import Supervisor
from swapstream.scripts.publish import author_of, publish_plan, read_definitions
from swapstream.scripts.submission import Submission
from swapstream.scripts.summary import cut_rows, quality
from swapstream.scripts.tally import Tally
from swapstream.scripts.watch import Watch

DEPLOYMENT = SCHEMA = "demo"
PLANS = (CONF / "plans" / "demo.yaml", CONF / "plans" / "demo-2.yaml")
PATIENCE = 180.0
"""Seconds until the shards must have answered to the swap, and until the last record's score must be there: about 3 are usual."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the cluster and the job running.")
@click.option("--seconds", type=click.FloatRange(10, 3600), default=40.0, show_default=True, help="How long to feed telemetry.")
@click.option("--rate", type=click.IntRange(100, 50_000), default=2000, show_default=True, help="Records a second.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the telemetry and its faults.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
@click.pass_obj
def demo_command(name: str, keep: bool, seconds: float, rate: int, seed: int, as_json: bool) -> None:
    """From nothing to anomalies and to a first hot swap.

    Starts the cluster, trains two models, submits `detect`, feeds simulated telemetry with known faults and some messages that
    can't be read, swaps to the second model half-way, and compares what came out with what went in. At the end it stops what it
    started. Exits with 6 when a record is missing.
    """
    mine = not is_up(name)
    try:
        summary = run(name, seconds, rate, seed)
    finally:
        if not keep:
            stop(name, mine)
    report(summary, as_json)
    if keep:
        say("still running: try `swapstream status`, `swapstream anomalies`; `swapstream down` ends it")
    elif not mine:
        say("the cluster was up before, and still is; `swapstream down` ends it")
    missing = summary["sent"] - summary["scored"] - summary["dead_lettered"]
    if missing > 0:
        where = "".join(f"; {gap}" for gap in summary["gaps"][:1])
        raise ClusterError(f"{missing} of {summary['sent']} records are neither in scores nor in dead-letters{where}")


def run(name: str, seconds: float, rate: int, seed: int) -> dict[str, Any]:
    """The whole demonstration but its end; returns the summary. Raises SwapstreamError."""
    began = time.monotonic()
    environment = up(name)
    say(f"broker and Flink are up ({time.monotonic() - began:.1f} s)")
    store_models(environment, PLANS)
    deployment = submit(environment)
    say(f"{deployment.full_name} runs ({time.monotonic() - began:.1f} s)")
    tally = Tally(deployment.namespace, deployment.name)
    with ExitStack() as stack:
        watch = stack.enter_context(Watch(environment, tally))
        feed = stack.enter_context(Feed(environment, find_schema(SCHEMA), seconds, rate, seed))
        screen = stack.enter_context(Screen(tally, feed))
        follow(lambda: feed.sent < feed.total / 2 and feed.running, watch, feed, screen)
        cut = change(environment, screen)
        follow(lambda: feed.running, watch, feed, screen)
        until = time.monotonic() + PATIENCE
        follow(lambda: tally.scored + tally.dead < feed.sent and time.monotonic() < until, watch, feed, screen)
    return summarise(environment, deployment, tally, feed, cut, time.monotonic() - began)


def submit(environment: Environment) -> Deployment:
    """Start `detect` anew, under the first plan whatever an earlier run swapped to. Returns it as it runs."""
    speaker = author_of(environment, "demo")
    with suppress(UnknownName):
        cancel(environment, DEPLOYMENT)
    wanted = Deployment(environment.job.namespace, DEPLOYMENT, "detect", environment.job.parallelism)
    Submission(environment, wanted, None).submit(str(PLANS[0]), speaker, "latest", environment.job.delivery)
    plan, _ = publish_plan(environment, wanted.namespace, str(PLANS[0]), speaker)
    if read_definitions(environment).cuts(wanted.namespace, DEPLOYMENT):
        swap(environment, wanted.namespace, DEPLOYMENT, plan.digest, speaker)
    return Deployments(environment).require(DEPLOYMENT)


def change(environment: Environment, screen: Screen) -> Cut:
    """Swap to the second plan, and wait until every shard has answered."""
    speaker = author_of(environment, "demo")
    namespace = environment.job.namespace
    plan, _ = publish_plan(environment, namespace, str(PLANS[1]), speaker)
    cut = swap(environment, namespace, DEPLOYMENT, plan.digest, speaker).cut
    screen.note(f"swap: tokens of epoch {cut.epoch} are written")
    for answer in acknowledgements(environment, cut, PATIENCE):
        screen.note(f"swap: {cut.topic}-{answer['partition']} {answer['event']} at offset {answer['offset']}")
    return cut


def follow(going: Callable[[], bool], watch: Watch, feed: Feed, screen: Screen) -> None:
    """Keep the screen fresh while `going()`; raises what went wrong on a thread."""
    while going():
        watch.check()
        feed.check()
        screen.refresh()
        time.sleep(0.1)


def is_up(name: str) -> bool:
    """Whether somebody has started the cluster already."""
    environment = load_environment(name)
    return not environment.starts_anything or Supervisor(environment.path, recorded(environment).socket).running()


def stop(name: str, everything: bool) -> None:
    """Leave nothing running of what the demo began: its job, and `everything` else. A second Ctrl-C doesn't stop it from that."""
    environment = load_environment(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if Deployments(environment).find(DEPLOYMENT) and is_up(name):
        say("stopping")
        with suppress(ClusterError):  # Flink is away already
            cancel(environment, DEPLOYMENT)
    if everything:
        down(environment)


def summarise(environment: Environment, deployment: Deployment, tally: Tally, feed: Feed, cut: Cut,
              seconds: float) -> dict[str, Any]:
    """What went in, what came out, and how good it was."""
    found = quality(tally.anomalies, feed.spans)
    rows = cut_rows(cut, tally.stretches)
    newest = Deployments(environment).require(DEPLOYMENT)
    resubmitted = len(newest.job_ids) - len(deployment.job_ids)
    models: dict[str, int] = {}
    for anomaly in tally.anomalies:
        models[anomaly["model"]] = models.get(anomaly["model"], 0) + 1
    return {
        "sent": feed.sent,
        "scored": tally.scored,
        "dead_lettered": tally.dead,
        "repeated": tally.repeats,
        "gaps": list(map(str, tally.gaps)),
        "anomalies": len(tally.anomalies),
        "anomalies_by_model": models,
        "precision": found.precision,
        "recall": found.recall,
        "faults": [{"kind": kind, "injected": injected, "found": hit} for kind, (hit, injected) in found.kinds.items()],
        "epoch": cut.epoch,
        "cut": rows,
        "restarts": resubmitted + FlinkRest(environment.flink.url).restarts(newest.job_ids[-1]),
        "seconds": round(seconds, 1),
    }


def report(summary: dict[str, Any], as_json: bool) -> None:
    """The summary on stdout."""
    if as_json:
        click.echo(json.dumps(summary))
        return
    by_model = ", ".join(f"{count:,} by {model}" for model, count in summary["anomalies_by_model"].items())
    notes = {
        "sent": "unreadable ones included",
        "scored": f"{summary['repeated']} of them twice",
        "dead_lettered": "with the reason and the original bytes",
        "anomalies": by_model,
        "recall": "of injected faults, those with an anomaly inside",
        "precision": "of anomalies, those inside a fault",
        "restarts": "of the job",
    }
    rows = [{"": name.replace("_", "-"), "value": short(summary[name]), "note": note} for name, note in notes.items()]
    show(rows, ["", "value", "note"], False, f"Summary after {summary['seconds']} s")
    show(summary["faults"], ["kind", "injected", "found"], False, "Faults")
    columns = ["partition", "before", "last_before", "token", "after", "first_after", "exact"]
    show(summary["cut"], columns, False, f"The swap's cut in each partition: offsets of epoch {summary['epoch']}")


def short(number: float | None) -> str:
    """A count with its thousands apart, a share in percent."""
    if number is None:
        return ""
    return f"{number:.1%}" if isinstance(number, float) else f"{number:,}"
