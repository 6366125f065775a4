"""Where a shard without state begins: under the newest cut before its first record, or under the plan given at submit (C1)."""

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
    ours = (assignment.namespace, assignment.deployment)
    found = [Beginning(cut.epoch, cut.plan) for cut in definitions.cuts(*ours)
             if cut.topic == assignment.topic and cut.covers(partition, offset)]
    found += at_arrival(assignment, definitions, assignment.parameters_end)
    update = definitions.update(*ours)
    if update and update.where.topic == assignment.topic and update.where.covers(partition, offset):
        found.append(begun_by(update.where, update.update))
    for one in sorted(found, key=lambda one: one.epoch, reverse=True):
        unusable = judge.unusable(one.plan, None, one.update)
        if unusable == "":
            return one
        if unusable is None and not (definitions.aborted(*ours, one.epoch) and judge.in_vain(one.plan)):
            return None
    return Beginning(0, assignment.plan) if judge.unusable(assignment.plan) is not None else None


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
