"""Whether another job can go on from the state of the one that runs: all that can be known of it while nothing has been stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from swapstream.jobs.spec import MAX_PARALLELISM, JobSpec, check_restorable
from swapstream.models.errors import ClusterError, InvalidPlan, InvalidSettings, Rejected
from swapstream.operators.definitions import Definitions
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Plan
from swapstream.scripts.checkpoints import newest_checkpoint
from swapstream.scripts.console import say
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment
from swapstream.scripts.history import Step
from swapstream.scripts.known import Known
from swapstream.scripts.migrating import newest_states, try_migration
from swapstream.scripts.offsets import committed_offsets
from swapstream.scripts.publish import Author, Part, read_definitions, stated
from swapstream.scripts.quality import Here
from swapstream.scripts.quality import require as require_quality
from swapstream.scripts.state_check import check_state
from swapstream.scripts.state_file import StateFile, read_newest


class Intended(msgspec.Struct, frozen=True):
    """An upgrade as it is intended: the job that runs and what it was told, what the new one is told, the plan that it runs and what of
    that is not published yet."""

    found: Deployment
    before: JobSpec
    after: JobSpec
    plan: Plan
    parts: list[Part]
    known: Known

    @property
    def native(self) -> bool:
        """Whether state can travel in the state backend's own format, which is quicker to write where state is large."""
        return self.before.state_backend == self.after.state_backend == "rocksdb"


def check(environment: Environment, intended: Intended, author: Author) -> str:
    """Raises the reason why it would not work: InvalidSettings, InvalidPlan, Rejected, ClusterError. Returns what was tried, in words."""
    before, after, plan = intended.before, intended.after, intended.plan
    check_told(before, after)
    check_models(plan, intended.parts, intended.known)
    for finding in require_quality(environment, before.namespace, before.deployment, plan, intended.parts):
        say(f"plan {plan.name!r}, {finding}")
    operators = check_operators(environment, intended.found, after)
    states = newest_states(environment, before)
    try_migration(states.values(), after, with_parts(environment, before.namespace, intended.parts, author))
    tried = f"state of {len(states)} of {after.partitions} shards migrated on trial"
    return f"{tried}, {operators} operators compared" if operators else tried


def check_told(before: JobSpec, after: JobSpec) -> None:
    """Raises InvalidSettings. Delivery may change: a job that stops commits all that it has written, one that goes on does so itself."""
    check_restorable(msgspec.structs.replace(before, delivery=after.delivery), after, savepoint=True)
    if after.parallelism > min(after.partitions, MAX_PARALLELISM):
        raise InvalidSettings(f"parallelism {after.parallelism}: telemetry has {after.partitions} partitions, and a shard is never split; "
                              f"allowed are 1 to {min(after.partitions, MAX_PARALLELISM)}")  # fmt: skip


def check_models(plan: Plan, parts: Iterable[Part], known: Known) -> None:
    """Features must be what the models read, and the gate must let them pass. Raises InvalidPlan, Rejected, UnknownName."""
    refusal = Pipeline(plan, Here(parts, known)).refusal
    if refusal:
        raise Rejected(f"plan {plan.name!r}: {refusal}")


def check_output(environment: Environment, intended: Intended) -> None:
    """For a handover: no plan under which a shard of the job that runs may still answer sends readings elsewhere. Raises InvalidPlan."""
    positions: dict[int, int] = {}
    with suppress(ClusterError):  # a user who may not ask for it can upgrade all the same
        positions = committed_offsets(environment, intended.before.group)
    now = intended.known.in_force
    for step in ahead(intended.known.history, positions):
        try:
            check_chains(intended.known.plan(step.plan), intended.plan)
        except InvalidPlan as error:
            late = "" if step == now else f" (shards have not passed the swap to epoch {now.epoch} yet: `swapstream status` shows when)"
            raise InvalidPlan(f"{error}{late}") from None


def ahead(history: Sequence[Step], positions: Mapping[int, int]) -> list[Step]:
    """What shards whose next records are at these positions answer under from there on: the newest step, and for those that lag
    the ones before it."""
    def reached(partition: int, offset: int) -> int:
        return max((step.epoch for step in history if not step.cut or step.cut.arrival or step.cut.covers(partition, offset)), default=0)

    first = min((reached(*place) for place in positions.items()), default=history[-1].epoch)
    return [step for step in history if step.epoch >= first]


def check_chains(before: Plan, after: Plan) -> None:
    """The new job of a handover knows where the old one's output ends only where the same readings go to the same topics under both
    plans. Raises InvalidPlan for what is to be changed by a swap."""
    if before.schemas != after.schemas:
        raise InvalidPlan(f"plan {after.name!r}: a handover can't change schemas ({', '.join(map(str, before.schemas))} to "
                          f"{', '.join(map(str, after.schemas))}); swap to a plan with these first, or use --mode savepoint")
    if sent(before) != sent(after):
        raise InvalidPlan(f"plan {after.name!r}: a handover can't change which readings have a champion or a decoy; swap to a plan with "
                          "these routes first, or use --mode savepoint")


def sent(plan: Plan) -> object:
    """What decides whether a reading goes to scores or to features: nothing, where every one is scored and none archived as well."""
    everything = any(route.takes_all and not route.type for route in plan.routes)
    if everything and all(route.champion and not route.decoy for route in plan.routes):
        return None
    return plan.tags, [(route.devices, route.type, route.tag, route.champion is None, route.decoy) for route in plan.routes]


def check_operators(environment: Environment, found: Deployment, after: JobSpec) -> int:
    """That the state of the job that runs is found again by the new one's operators, as its newest checkpoint has it; how many have
    state, 0 where there is no checkpoint to be seen from here. Raises InvalidSettings."""
    state = _newest_state(environment, found, after)
    if state is None:
        return 0
    # Sinks: what the job before has written it commits itself, so that those of another line may begin without state.
    check_state(state, after, leave_sinks=True)
    return sum(operator.stateful for operator in state.operators)


def _newest_state(environment: Environment, found: Deployment, after: JobSpec) -> StateFile | None:
    def newest() -> str | None:
        path = newest_checkpoint(environment.checkpoints, found.job_ids)
        return path.as_uri() if path else None

    return read_newest(newest, after.topics["telemetry"]) if newest() else None


def with_parts(environment: Environment, namespace: str, parts: Sequence[Part], author: Author) -> Definitions:
    """All definitions, and those of parts that nobody has published yet, as if they were."""
    definitions, when = read_definitions(environment), int(time.time() * 1000)
    for part in parts:
        definitions.read(definitions.position, stated(environment, namespace, part, author, when).encode(author.signer))
    return definitions
