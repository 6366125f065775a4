"""How a job enters a shard: without state, or from that of another job of the deployment, which may go on beside it."""

from __future__ import annotations

from typing import Literal

import msgspec

from swapstream.models.errors import InvalidDefinition, InvalidPlan
from swapstream.operators.assignment import Assignment, Upgrade
from swapstream.operators.definitions import Definitions
from swapstream.operators.duty import Duty
from swapstream.operators.judging import Judge
from swapstream.operators.shard_state import Head
from swapstream.operators.snapshots import Why
from swapstream.operators.starting import Beginning, first_plan, released


class Entrance(msgspec.Struct, frozen=True):
    """What a shard begins with: its duty, a plan (None: there is nothing to do any more), why its state is published then, and what the
    ledger is told.

    - forked: mute, from a state that the job before goes on from as well, or from none.
    - restored: all input is held until a cut at arrival.
    """

    duty: Duty
    beginning: Beginning | None
    snapshot: Why | None = None
    event: Literal["", "forked", "restored"] = ""


def forked(head: Head, assignment: Assignment) -> bool:
    """Whether state is another job's, to be migrated to the plan of this one's upgrade. Without an upgrade it is gone on from as it is.

    Raises InvalidDefinition where that job has handed the shard over: it knows none of the records since.
    """
    if head.generation == assignment.generation:
        return False
    if head.duty == "retired":
        raise InvalidDefinition(
            f"{assignment.topic}: state of generation {head.generation} of {assignment.namespace}.{assignment.deployment} ends where that "
            "job handed over to another; go on from the state of the job that took over"
        )
    return assignment.upgrade is not None and head.started


def entrance(
    offset: int, partition: int, head: Head, assignment: Assignment, definitions: Definitions, judge: Judge
) -> Entrance | None:
    """For the record at `offset`, of a shard that has not started, or whose head is another job's. None while that can't be told.

    Raises InvalidPlan where the upgrade's plan can't be run.
    """
    if definitions.position < assignment.parameters_end:
        return None
    upgrade = assignment.upgrade
    if head.started:
        assert upgrade is not None
        duty: Duty | None = "mute" if upgrade.mode == "handover" else "emit"
        first = migrated(head, upgrade, judge)
    else:
        duty = duty_of(offset, partition, assignment, definitions)
        if duty == "retired":
            return Entrance(duty, None)
        first = first_plan(offset, partition, assignment, definitions, judge) if duty else None
    if duty is None or first is None:
        return None
    if duty == "mute":
        return Entrance(duty, first, "fork", "forked")
    held = upgrade is not None and not released(assignment, definitions)
    return Entrance(duty, first, None if head.started else "start", "restored" if held else "")


def migrated(head: Head, upgrade: Upgrade, judge: Judge) -> Beginning | None:
    """What a shard goes on under after another job's state: the upgrade's plan, in an epoch below that which it is to have. None
    while it is being loaded, or a model's store is away.
    """
    update = head.carried if head.plan == upgrade.plan else b""
    unusable = judge.unusable(upgrade.plan, None, update)
    if unusable:
        raise InvalidPlan(f"the upgrade to plan {upgrade.plan[:12]}…: {unusable}")
    return None if unusable is None else Beginning(min(head.epoch, upgrade.epoch - 1), upgrade.plan, update)


def duty_of(offset: int, partition: int, assignment: Assignment, definitions: Definitions) -> Duty | None:
    """What a job does of a shard that has no state, from its first record on. None while that can't be told.

    A handover's cut map tells of records behind its tokens, and of partitions that were added after it. Before, a job that takes over
    is mute, and will meet its token; of a partition that it was not told of at submit it can't know whether there is one.
    """
    mine = assignment.generation
    cuts = [cut for cut in definitions.cuts(assignment.namespace, assignment.deployment) if cut.handover and cut.topic == assignment.topic]
    if any(cut.predecessor == mine and cut.covers(partition, offset) for cut in cuts):
        return "retired"
    if assignment.upgrade is None or assignment.upgrade.mode != "handover":
        return "emit"
    own = next((cut for cut in cuts if cut.successor == mine), None)
    if own is not None:
        return "emit" if own.covers(partition, offset) else "mute"
    return "mute" if partition < assignment.partitions else None
