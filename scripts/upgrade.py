"""`swapstream upgrade` and `rescale`: another job takes over from the one that runs, with its state."""

from __future__ import annotations

import click

from swapstream.models.errors import Conflict, InvalidSettings, UnknownName
from swapstream.scripts.catalogue import read_plan
from swapstream.scripts.console import say
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import load_environment
from swapstream.scripts.handover import abort_handover, handover_upgrade, resume_handover
from swapstream.scripts.publish import author_of
from swapstream.scripts.savepoint_upgrade import abort_savepoint, resume_savepoint, savepoint_upgrade
from swapstream.scripts.steps import Steps
from swapstream.scripts.upgrade_order import UpgradeOrder, chosen, settings_options, upgrade_options
from swapstream.scripts.upgrade_progress import Progress, ProgressFile

BEGIN = {"savepoint": savepoint_upgrade, "handover": handover_upgrade}
RESUME = {"savepoint": resume_savepoint, "handover": resume_handover}
ABORT = {"savepoint": abort_savepoint, "handover": abort_handover}


@click.command("upgrade")
@click.argument("deployment")
@click.option("--mode", type=click.Choice(list(BEGIN)), help="savepoint: the job ends, and the new one begins from its state, "
              "seconds later. handover: both run, and a token decides at which record the new one takes over.")  # fmt: skip
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), help="Plan file (YAML).  [default: the plan in force]")
@settings_options
@click.option("--abort", is_flag=True, help="Undo an upgrade that was interrupted, as far as that can be.")
@upgrade_options
@click.pass_obj
def upgrade_command(name: str, deployment: str, mode: str | None, plan_file: str | None, parallelism: int | None,
                    delivery: str | None, state_backend: str | None, frame_ms: int | None, abort: bool, why: str,
                    timeout: float, as_json: bool) -> None:  # fmt: skip
    """Replace DEPLOYMENT's job by a new one that goes on from its state, under another plan or other settings.

    What would not fit is refused with the reason before anything is stopped. Settings that are not given are the environment's; where
    it was interrupted, running it again finishes it.
    """
    environment = load_environment(name)
    settings = chosen(parallelism=parallelism, delivery=delivery, state_backend=state_backend, frame_ms=frame_ms)
    order = UpgradeOrder(environment, deployment, author_of(environment, why), plan_file, settings, timeout)
    run(order, mode, abort, as_json)


@click.command("rescale")
@click.argument("deployment")
@click.argument("parallelism", type=click.IntRange(1, 128))
@upgrade_options
@click.pass_obj
def rescale_command(name: str, deployment: str, parallelism: int, why: str, timeout: float, as_json: bool) -> None:
    """Run DEPLOYMENT with PARALLELISM subtasks: `upgrade --mode savepoint`, with nothing else changed."""
    environment = load_environment(name)
    order = UpgradeOrder(environment, deployment, author_of(environment, why), None, chosen(parallelism=parallelism), timeout)
    run(order, "savepoint", False, as_json)


def run(order: UpgradeOrder, mode: str | None, abort: bool, as_json: bool) -> None:
    """Begin, finish or undo an upgrade, and show its steps. Raises SwapstreamError."""
    deployments = Deployments(order.environment)
    if deployments.require(order.deployment).job == "rekey":
        raise InvalidSettings(f"{order.full_name} is a rekey job, without a plan: `swapstream cancel` it and run `swapstream rekey` as it "
                              "is to be; it goes on from its state")  # fmt: skip
    steps = Steps(order.full_name)
    with deployments.upgrading(order.deployment):
        found = ProgressFile(deployments, order.deployment).find()
        told = _continue(found, order, mode, abort, steps) if found or abort else _begin(order, mode, steps)
    steps.show(as_json, **told)


def _begin(order: UpgradeOrder, mode: str | None, steps: Steps) -> dict[str, object]:
    if mode is None:
        raise InvalidSettings(f"how is {order.full_name} to be upgraded? --mode savepoint, or --mode handover")
    return BEGIN[mode](order, steps)


def _continue(found: Progress | None, order: UpgradeOrder, mode: str | None, abort: bool, steps: Steps) -> dict[str, object]:
    if found is None:
        raise UnknownName(f"no upgrade of {order.full_name} is under way: there is nothing to abort")
    if mode and mode != found.mode:
        raise Conflict(f"an upgrade of {order.full_name} by {found.mode} was interrupted at its step {found.step!r}: finish it first "
                       f"(`swapstream upgrade {order.deployment}`), or undo it with --abort")
    if not abort and order.plan_file and read_plan(order.environment, order.plan_file)[1].digest != found.plan:
        raise Conflict(f"an upgrade of {order.full_name} to another plan was interrupted at its step {found.step!r}: finish it first "
                       f"(`swapstream upgrade {order.deployment}`), or undo it with --abort")  # fmt: skip
    say(f"{order.full_name}: an upgrade by {found.mode} was interrupted at its step {found.step!r}: "
        f"{'undoing' if abort else 'finishing'} that one")
    return (ABORT if abort else RESUME)[found.mode](order, steps, found)
