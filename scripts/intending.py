"""An upgrade as it was asked for becomes one as it is intended: what runs now, what is to run, and what the new job is told."""

from __future__ import annotations

from contextlib import suppress

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.operators.assignment import Upgrade
from swapstream.operators.plan import Plan
from swapstream.scripts.code import ship
from swapstream.scripts.compatibility import Intended
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.history import next_epoch
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.known import Known, known_of
from swapstream.scripts.publish import Part, plan_parts
from swapstream.scripts.specification import next_spec
from swapstream.scripts.stopping import let_recover
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Mode


def intend(order: UpgradeOrder, mode: Mode, flink: JobOperator) -> Intended:
    """Raises UnknownName, ClusterError where no job runs, and what is wrong with the plan."""
    environment, deployments = order.environment, Deployments(order.environment)
    running(deployments, order.deployment, flink)
    before, known = JobSpec.read(deployments.spec(order.deployment)), known_of(environment, order.namespace, order.deployment)
    plan, parts = wanted(order, known)
    generation = deployments.next_generation(order.deployment)
    upgrade = Upgrade(mode, plan.digest, next_epoch(known.history))
    line = generation if mode == "handover" else before.line
    code = sorted({*plan.code, *known.plan(known.in_force.plan).code})  # so that a swap may go back
    ship(environment, code)
    after = next_spec(environment, before, order.settings, generation, line, known.definitions.position, upgrade, code)
    return Intended(deployments.require(order.deployment), before, after, plan, parts, known)


def running(deployments: Deployments, name: str, flink: JobOperator) -> Deployment:
    """The record of a deployment whose job runs; one that Flink is bringing back is waited for. Raises UnknownName, ClusterError."""
    found = deployments.require(name)
    if found.desired == "running":
        with suppress(ClusterError):  # it has ended meanwhile
            let_recover(flink, found.job_id)
        found = deployments.require(name)  # the keeper may have brought it back
    state = flink.state(found.job_id) if found.desired == "running" else "stopped"
    if state != "RUNNING":
        raise ClusterError(f"{found.full_name} does not run ({state or 'its job is not known'}): an upgrade takes over from a job that "
                           f"runs; `swapstream submit {found.job} --deployment {name} --from latest` starts it")  # fmt: skip
    return found


def wanted(order: UpgradeOrder, known: Known) -> tuple[Plan, list[Part]]:
    """The plan that the new job is to run, and what is needed for it that may not be published."""
    if order.plan_file:
        return plan_parts(order.environment, order.plan_file)
    plan = known.plan(known.in_force.plan)
    return plan, known.parts(plan)
