"""`swapstream rollback`: back to the plan before the one in force, in log order or at once."""

from __future__ import annotations

import click

from swapstream.models.errors import Conflict
from swapstream.scripts.change import Order, carry_out, change_options
from swapstream.scripts.console import say
from swapstream.scripts.environment import load_environment
from swapstream.scripts.known import known_of
from swapstream.scripts.publish import author_of
from swapstream.scripts.submitted import the_deployment


@click.command("rollback")
@click.argument("deployment", required=False)
@click.option("--now", is_flag=True, help="Take effect as soon as each shard hears of it, ahead of its backlog.")
@click.option("--epoch", type=click.IntRange(1), help="Undo this epoch; nothing happens when it is not in force any more.")
@click.option("--no-prepare", is_flag=True, help="Don't ask the shards first whether they can run it.")
@change_options
@click.pass_obj
def rollback_command(name: str, deployment: str | None, now: bool, epoch: int | None, no_prepare: bool,
                     namespace: str | None, why: str, wait: bool, timeout: float, as_json: bool) -> None:  # fmt: skip
    """Go back to the plan that DEPLOYMENT had before the one in force, by a swap of its own.

    A second rollback goes one plan further back, never to what was rolled back. With --now it takes effect at the next record of
    each shard instead of at the end of its backlog; the ledger says at which.
    """
    environment = load_environment(name)
    space, target = namespace or environment.job.namespace, the_deployment(environment, deployment)
    known = known_of(environment, space, target)
    step = known.in_force
    if epoch is not None and step.epoch != epoch:
        raise Conflict(f"{space}/{target} is at epoch {step.epoch}, not {epoch}: nothing was changed")
    plan = known.plan(known.before.plan)
    say(f"{space}/{target}: from epoch {step.epoch} back to plan {plan.name!r} of epoch {known.before.epoch}; "
        f"if this is interrupted, run it again with --epoch {step.epoch}")
    order = Order(environment, space, target, author_of(environment, why), not no_prepare, wait, timeout, "rolled_back",
                  "arrival" if now else "cut", step.epoch)  # fmt: skip
    carry_out(order, plan, known.parts(plan), as_json)
