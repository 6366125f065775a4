"""Which models somebody may still need: by plans in force and before, by savepoints and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, UnknownName
from swapstream.models.store import Store
from swapstream.operators.definitions import Definitions
from swapstream.scripts.checkpoints import retained
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.known import Known
from swapstream.scripts.model_history import read_ledger
from swapstream.scripts.model_life import Ledger
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.savepoint_files import Saved, Shelf
from swapstream.scripts.submitted import submitted_plan

BEHIND = 3_600_000
"""A checkpoint's shards may have been so far behind (ms) when it was taken."""


class Need(NamedTuple):
    """A plan that somebody needs, and who; `surely`: it must be known which models it has."""

    namespace: str
    deployment: str
    plan: str
    why: str
    surely: bool = True


def references(environment: Environment, last: int) -> dict[str, str]:
    """The digests of the models that must stay, each with a reason.

    These are the models of each deployment's plan in force and `last` plans in all, of every savepoint, and of what was in force when
    the oldest retained checkpoint was taken, and since. Where checkpoints lie elsewhere, of every plan that there ever was. Raises
    ClusterError, and UnknownName for a plan of which nobody knows what it needs.
    """
    definitions, ledger = read_definitions(environment), read_ledger(environment)
    store = Store(environment.store)
    found: dict[str, str] = {}
    for need in needs(environment, definitions, ledger, last):
        known = known_of(environment, definitions, need.namespace, need.deployment, store)
        try:
            pins = known.plan(need.plan).models()
        except UnknownName as error:
            if need.surely:
                raise UnknownName(f"{need.namespace}/{need.deployment}: {error}: nothing can be removed while it is not known what "
                                  f"{need.why} needs") from error  # fmt: skip
            continue
        for pin in pins:
            found.setdefault(pin.digest, need.why)
    return found


def known_of(environment: Environment, definitions: Definitions, namespace: str, deployment: str, store: Store) -> Known:
    return Known(definitions, namespace, deployment, submitted_plan(environment, namespace, deployment), store)


def needs(environment: Environment, definitions: Definitions, ledger: Ledger, last: int) -> Iterator[Need]:
    """Every plan that is needed, the most pressing first."""
    here = {(found.namespace, found.name) for found in Deployments(environment)}
    for namespace, deployment in sorted(definitions.deployments() | ledger.epochs.keys() | here):
        whose = f"{namespace}/{deployment}"
        known = known_of(environment, definitions, namespace, deployment, Store(environment.store))
        plans = [step.plan for step in known.history]
        if plans:
            yield Need(namespace, deployment, plans[-1], f"{whose} runs it")
        for plan in latest(plans, last):
            yield Need(namespace, deployment, plan, f"one of the last {last} plans of {whose}", False)
        if (namespace, deployment) in here:
            yield from _saved(environment, namespace, deployment)
            yield from _submitted(environment, namespace, deployment)
        if environment.flink.rest:
            epochs = ledger.epochs.get((namespace, deployment), {}).values()
            for plan in {*plans, *(epoch.plan for epoch in epochs if epoch.plan)}:
                yield Need(namespace, deployment, plan, f"a plan of {whose}, whose checkpoints lie elsewhere", False)
        else:
            yield from _checkpointed(environment, ledger, namespace, deployment)


def latest(plans: list[str], count: int) -> list[str]:
    """The last so many different ones, the newest first."""
    return list(dict.fromkeys(reversed(plans)))[:count]


def _saved(environment: Environment, namespace: str, deployment: str) -> Iterator[Need]:
    for saved in shelved(environment, deployment):
        for plan in dict.fromkeys((saved.plan_digest, saved.told.plan)):
            yield Need(namespace, deployment, plan, f"savepoint {saved.id}", plan == saved.plan_digest)


def _submitted(environment: Environment, namespace: str, deployment: str) -> Iterator[Need]:
    """What its jobs were told: during an upgrade there are two, and the plan of the new one is in no cut yet."""
    for green in (False, True):
        path = Deployments(environment).spec(deployment, green)
        told = JobSpec.read(path) if path.is_file() else None
        for plan in (told.plan, told.upgrade.plan if told.upgrade else "") if told else ():
            if plan:
                yield Need(namespace, deployment, plan, f"a job of {namespace}/{deployment} was submitted with it", False)


def shelved(environment: Environment, deployment: str) -> list[Saved]:
    """Raises ClusterError where what there is can't be read."""
    try:
        return Shelf(environment, deployment).every()
    except OSError as error:
        raise ClusterError(f"savepoints of {deployment}: {error}") from error


def _checkpointed(environment: Environment, ledger: Ledger, namespace: str, deployment: str) -> Iterator[Need]:
    """What was in force when the oldest checkpoint was taken, the plan before that, and what came since."""
    record = Deployments(environment).find(deployment) if namespace == environment.job.namespace else None
    paths = retained(environment.checkpoints, (*record.earlier, *record.job_ids)) if record else []
    if not paths:
        return
    taken = min((path / "_metadata").stat().st_mtime for path in paths) * 1_000 - BEHIND
    epochs = sorted(ledger.epochs.get((namespace, deployment), {}).items())
    over = [number for number, _ in epochs if (ledger.end((namespace, deployment), number) or taken) < taken]
    for number, epoch in epochs:
        if epoch.plan and number >= max(over, default=0):
            yield Need(namespace, deployment, epoch.plan, f"a checkpoint of {namespace}/{deployment}", False)
