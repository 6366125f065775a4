"""`swapstream swap`: from the plan in force to another, at one offset in each partition, while the job runs."""

from __future__ import annotations

import click

from swapstream.models.errors import InvalidSettings
from swapstream.models.gate import check
from swapstream.operators.plan import Plan
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.change import Order, carry_out, change_options, measure
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.known import known_of
from swapstream.scripts.publish import Part, author_of, plan_parts
from swapstream.scripts.refusal import on_the_ledger
from swapstream.scripts.submitted import the_deployment


@click.command("swap")
@click.option("--plan", "path", type=click.Path(), help="The plan to swap to.")
@click.option("--champion", metavar="NAME:VERSION", help="Or: the plan in force, with this model as champion.")
@click.option("--route", metavar="PATTERN",
              help="Of the route with these devices (or type/devices).  [those whose champion is another version, or the only one]")
@click.option("--deployment", help="Which deployment.  [default: the plan's name; with --champion the only one that runs]")
@click.option("--no-prepare", is_flag=True, help="Don't ask the shards first whether they can run it.")
@change_options
@click.pass_obj
def swap_command(name: str, path: str | None, champion: str | None, route: str | None, deployment: str | None, no_prepare: bool,
                 namespace: str | None, why: str, wait: bool, timeout: float, as_json: bool) -> None:  # fmt: skip
    """Change the plan of a running deployment, at one offset in each telemetry partition.

    Publishes the plan and what it needs, lets every shard load and check it, and writes the tokens of all partitions in one
    transaction. Shows how each shard was prepared, where its cut lies and how long it took. A shard that refuses leaves
    everything as it was, and so does a limit of the plan's `require` that does not hold on the last 5,000 records of telemetry.
    Doing it twice changes nothing; where it was interrupted, it is finished.
    """
    if (path is None) == (champion is None) or (route is not None and champion is None):
        raise InvalidSettings("swap takes --plan, or --champion and perhaps --route")
    environment = load_environment(name)
    space = namespace or environment.job.namespace
    target = deployment or load_plan_file(path).name if path else the_deployment(environment, deployment)
    based_on = None
    with on_the_ledger(environment, space, target):
        if path is not None:
            plan, parts = plan_parts(environment, path)
        else:
            plan, parts, based_on = derived(environment, space, target, champion or "", route)
        order = Order(environment, space, target, author_of(environment, why), not no_prepare, wait, timeout, based_on=based_on)
        measure(order, plan, parts)
    carry_out(order, plan, parts, as_json)


def derived(environment: Environment, namespace: str, deployment: str, ref: str, route: str | None) -> tuple[Plan, list[Part], int]:
    """The plan in force with another champion, what must be defined for it, and the epoch in force. Raises SwapstreamError."""
    known = known_of(environment, namespace, deployment)
    artifact = known.model(ref)
    check(artifact)
    plan = known.with_champion(artifact, route)
    return plan, known.parts(plan, artifact), known.in_force.epoch
