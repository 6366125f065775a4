"""Where a shard without state begins: under the newest cut before its first record, or under the plan given at submit, or by an
upgrade (C1)."""

from __future__ import annotations

import msgspec

from swapstream.operators.assignment import Assignment
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.judging import Judge


class Beginning(msgspec.Struct, frozen=True):
    """What begins: an epoch, its plan's digest, and the encoded Update that carries the plan, if one does."""

    epoch: int
    plan: str
    update: bytes = b""


def first_plan(
    offset: int, partition: int, assignment: Assignment, definitions: Definitions, judge: Judge
) -> Beginning | None:
    """For the record at `offset`: the newest cut's before it whose plan can be run; of those at arrival, and of the updates, too.

    None while that can't be told: it is being loaded, or a model's store is away and no abort came. A plan given at submit that can't
    be run is returned all the same.
    """
    ours, least = (assignment.namespace, assignment.deployment), first_of_all(assignment)
    found = known(offset, partition, assignment, definitions) if released(assignment, definitions) else []
    for one in sorted((one for one in found if one.epoch > least.epoch), key=lambda one: one.epoch, reverse=True):
        unusable = judge.unusable(one.plan, None, one.update)
        if unusable == "":
            return one
        if unusable is None and not (definitions.aborted(*ours, one.epoch) and judge.in_vain(one.plan)):
            return None
    return least if judge.unusable(least.plan) is not None else None


def first_of_all(assignment: Assignment) -> Beginning:
    """What was given at submit, or is in force when an upgrade begins, with the upgrade's plan for it."""
    upgrade = assignment.upgrade
    return Beginning(upgrade.epoch - 1, upgrade.plan) if upgrade else Beginning(0, assignment.plan)


def released(assignment: Assignment, definitions: Definitions) -> bool:
    """False: by its upgrade this job is to hold all input until it is told that it may begin."""
    upgrade = assignment.upgrade
    if upgrade is None or upgrade.mode != "savepoint":
        return True
    cuts = definitions.arrivals(assignment.namespace, assignment.deployment)
    return any(cut.epoch >= upgrade.epoch and cut.plan == upgrade.plan for cut in cuts)


def known(offset: int, partition: int, assignment: Assignment, definitions: Definitions) -> list[Beginning]:
    """Everything that has begun before the record at `offset`."""
    ours = (assignment.namespace, assignment.deployment)
    found = [begun_by(cut) for cut in definitions.cuts(*ours) if cut.topic == assignment.topic and cut.covers(partition, offset)]
    found += at_arrival(assignment, definitions, assignment.parameters_end)
    update = definitions.update(*ours)
    if update and update.where.topic == assignment.topic and update.where.covers(partition, offset):
        found.append(begun_by(update.where, update.update))
    return found


def at_arrival(assignment: Assignment, definitions: Definitions, before: int | None = None) -> list[Beginning]:
    """What begins at arrival, as far as it lies below an offset of `parameters`."""
    ours = (assignment.namespace, assignment.deployment)
    found = [begun_by(cut) for cut in definitions.arrivals(*ours, before) if cut.topic == assignment.topic]
    update = definitions.update(*ours, before)
    if update and update.where.arrival and update.where.topic == assignment.topic:
        found.append(begun_by(update.where, update.update))
    return found


def begun_by(cut: Cut, update: bytes = b"") -> Beginning:
    return Beginning(cut.epoch, cut.plan, update)
