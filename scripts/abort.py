"""`swapstream abort`: let shards go on that hold at a token whose plan is not there."""

from __future__ import annotations

from contextlib import closing

import click

from swapstream.models.errors import Conflict, UnknownName
from swapstream.operators.plan import Plan
from swapstream.scripts.acknowledge import Ledger, activations, rows_to_end
from swapstream.scripts.change import change_options
from swapstream.scripts.console import say
from swapstream.scripts.controller import Controller
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.known import Known, known_of
from swapstream.scripts.outcome import Outcome
from swapstream.scripts.publish import author_of
from swapstream.scripts.shards import ShardState, held_epochs, holding, shard_states
from swapstream.scripts.submitted import the_deployment


@click.command("abort")
@click.argument("deployment", required=False)
@change_options
@click.pass_obj
def abort_command(name: str, deployment: str | None, namespace: str | None, why: str, wait: bool, timeout: float,
                  as_json: bool) -> None:  # fmt: skip
    """Give up the swap at which shards of DEPLOYMENT hold: they go on under the plan before, and the others go back to it.

    Only for shards that hold: what has taken effect is undone by `swapstream rollback`.
    """
    environment = load_environment(name)
    space, target = namespace or environment.job.namespace, the_deployment(environment, deployment)
    known, states = known_of(environment, space, target), ledger_states(environment, space, target)
    epochs, stuck = held_epochs(states, known.history), list(holding(states))
    if not epochs:
        raise Conflict(f"no shard of {space}/{target} holds: there is nothing to abort; `swapstream rollback` undoes what has taken effect")
    old = plan_before(known, epochs)
    outcome = Outcome(f"{space}/{target}", old.name, old.digest)
    with closing(Ledger(environment)) as ledger:
        with Controller(environment, space, target, author_of(environment, why)) as controller:
            if controller.in_force != known.in_force:
                raise Conflict(f"{space}/{target} was changed by somebody else meanwhile; run it again")
            controller.publish(known.parts(old))
            back = known.in_force.epoch in epochs
            done = controller.abort(epochs, old.digest if back else None)
            outcome.cut(done, controller.partitions)
        say(f"epochs {epochs}, at which shards {stuck} hold, are aborted; "
            + (f"plan {old.name!r} goes on as epoch {done.cut.epoch}" if back else f"epoch {done.cut.epoch} stays in force"))
        try:
            for answer in activations(ledger, done.cut, set(done.cut.offsets), timeout) if wait and back else ():
                outcome.acknowledged(answer)
        finally:
            outcome.show(as_json)


def plan_before(known: Known, epochs: list[int]) -> Plan:
    """What shards that hold at these epochs run. Raises UnknownName."""
    earlier = [step for step in known.history if step.epoch < min(epochs)]
    if not earlier:
        raise UnknownName(f"no plan of {known.namespace}/{known.deployment} before epoch {min(epochs)} is known")
    return known.plan(earlier[-1].plan)


def ledger_states(environment: Environment, namespace: str, deployment: str) -> dict[int, ShardState]:
    """What each shard does, as all of the ledger says."""
    return shard_states(rows_to_end(environment), namespace, deployment)
