"""Where a shard without state begins: under the newest cut before its first record, or under the plan given at submit (C1)."""

from __future__ import annotations

from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.judging import Judge


def plan_at(
    offset: int, partition: int, assignment: Assignment, definitions: Definitions, judge: Judge
) -> tuple[int, str]:
    """Epoch and plan of the record at `offset`: the newest cut's before it whose plan could be activated."""
    for cut in reversed(definitions.cuts(assignment.namespace, assignment.deployment)):
        covered = cut.topic == assignment.topic and cut.covers(partition, offset)
        if covered and not judge.unusable(cut.plan):
            return cut.epoch, cut.plan
    return 0, assignment.plan
