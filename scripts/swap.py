"""`swapstream swap`: from the plan in force to another, at one offset in each partition, while the job runs."""

from __future__ import annotations

import time
from typing import Any

import click

from swapstream.models.errors import Rejected
from swapstream.models.lineage import author
from swapstream.scripts.acknowledge import acknowledgements
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.controller import Swapped, swap
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import load_environment
from swapstream.scripts.publish import Author, publish_plan


@click.command("swap")
@click.option("--plan", "path", required=True, type=click.Path(), help="The plan to swap to.")
@click.option("--deployment", help="Which deployment [default: the plan's name].")
@click.option("--namespace", help="Of which namespace [default: the environment's].")
@click.option("--why", default="", help="The reason, for the ledger.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until every shard has answered.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for.")
@json_option
@click.pass_obj
def swap_command(
    name: str,
    path: str,
    deployment: str | None,
    namespace: str | None,
    why: str,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Publish a plan and what it needs, and write its tokens: one in each telemetry partition, in one transaction.

    Prints the cut: the offset in each partition after which records are the new plan's. Doing it twice changes nothing.
    """
    environment = load_environment(name)
    space = namespace or environment.job.namespace
    speaker = Author(author(), why)
    plan, _ = publish_plan(environment, space, path, speaker)
    target = deployment or plan.name
    if space == environment.job.namespace and Deployments(environment).find(target) is None:
        say(f"{space}/{target} was not submitted from here; its tokens are written all the same")
    began = time.monotonic()
    swapped = swap(environment, space, target, plan.digest, speaker)
    cut = swapped.cut
    rows = cut_rows(swapped, plan.name)
    if wait:
        for answer in acknowledgements(environment, cut, timeout):
            row = next(row for row in rows if row["partition"] == answer["partition"])
            row.update(event=answer["event"], seconds=round(time.monotonic() - began, 3))
            say(
                f"{cut.topic}-{answer['partition']}: {answer['event']} at offset {answer['offset']}"
                + (f": {answer['reason']}" if answer.get("reason") else "")
            )
    show(rows, ["deployment", "epoch", "plan", "partition", "cut_offset", "event", "seconds"], as_json, "Cut")
    refused = [row["partition"] for row in rows if row["event"] == "rejected"]
    if refused:
        raise Rejected(f"shards {refused} rejected epoch {cut.epoch}; the ledger says why")


def cut_rows(swapped: Swapped, plan: str) -> list[dict[str, Any]]:
    """A cut as rows, one a partition."""
    cut, event = swapped.cut, "written" if swapped.written else "stood before"
    shared = {"deployment": f"{cut.namespace}/{cut.deployment}", "epoch": cut.epoch, "plan": plan, "topic": cut.topic}
    return [
        {**shared, "partition": partition, "cut_offset": offset, "event": event, "seconds": None}
        for partition, offset in sorted(cut.offsets.items())
    ]
