"""What each shard of a deployment is doing, as its rows on the ledger and the cut maps tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from swapstream.operators.duty import Duty
from swapstream.scripts.acknowledge import Row, addressed
from swapstream.scripts.history import Step
from swapstream.scripts.lag import Lag


class ShardState(msgspec.Struct, frozen=True):
    """After its newest row: the epoch in which it is and its plan's digest, since which offset, in which job; where it holds, if it
    does, and why; which generation of the deployment's jobs it belongs to, and its duty there."""

    epoch: int | None = None
    plan: str | None = None
    plan_name: str | None = None
    since: int | None = None
    job: str | None = None
    holds_at: int | None = None
    reason: str | None = None
    generation: int = 0
    duty: Duty = "emit"


Said = dict[int, dict[int, ShardState]]
"""Generation → partition → what the shard of that job said last."""


def said(rows: Iterable[Row], namespace: str, deployment: str) -> Said:
    """Of the rows of a ledger in their order."""
    found: Said = {}
    for row in rows:
        if addressed(row, namespace, deployment) and isinstance(row.get("partition"), int):
            generation, partition = row.get("generation") or 0, row["partition"]
            states = found.setdefault(generation, {})
            states[partition] = after(states.get(partition) or standing(found, generation, partition), row)
    return found


def standing(found: Said, generation: int, partition: int) -> ShardState:
    """What a job's shard does: as it said, else as the newest job before it whose shard emitted, from which it went on."""
    own = found.get(generation, {}).get(partition)
    if own:
        return own
    emitted = [before for before in sorted(found) if before < generation and emits(found[before].get(partition))]
    inherited = found[emitted[-1]][partition] if emitted else ShardState()
    return msgspec.structs.replace(inherited, generation=generation)


def emits(state: ShardState | None) -> bool:
    return state is not None and state.duty == "emit"


def shard_states(rows: Iterable[Row], namespace: str, deployment: str) -> dict[int, ShardState]:
    """Partition → what the shard that answers there said last, of the rows of a ledger in their order."""
    return answering(said(rows, namespace, deployment))


def answering(found: Said) -> dict[int, ShardState]:
    """Partition → the shard of the newest job that is not mute there."""
    states: dict[int, ShardState] = {}
    for _, of_job in sorted(found.items()):
        states |= {partition: state for partition, state in of_job.items() if state.duty != "mute"}
    return states


def after(state: ShardState, row: Row) -> ShardState:
    """A shard's state after a row of its own."""
    event, offset = row.get("event"), row.get("offset")
    job = row.get("job") or state.job
    if event in ("activated", "forked", "restored"):
        begun = ShardState(row.get("epoch"), row.get("plan"), row.get("plan_name"), offset, job)
        return msgspec.structs.replace(begun, generation=state.generation, duty="emit" if event == "activated" else "mute")
    if event == "retired":
        return msgspec.structs.replace(state, duty="retired", job=job)
    if event == "holding":
        return msgspec.structs.replace(state, holds_at=offset, reason=row.get("reason"), job=job)
    if event in ("released", "aborted") or (event == "rejected" and offset == state.holds_at):
        return msgspec.structs.replace(state, holds_at=None, reason=None, job=job)
    return msgspec.structs.replace(state, job=job)


def holding(states: Mapping[int, ShardState]) -> dict[int, ShardState]:
    """Those that hold."""
    return {partition: state for partition, state in sorted(states.items()) if state.holds_at is not None}


def held_epochs(states: Mapping[int, ShardState], history: Sequence[Step]) -> list[int]:
    """The epochs at whose tokens shards hold."""
    places = {(partition, state.holds_at) for partition, state in holding(states).items()}
    return [step.epoch for step in history if step.cut and places & set(step.cut.offsets.items())]


def expected(history: Sequence[Step], partition: int, position: int | None) -> Step | None:
    """The step in which a shard whose next record is at `position` is by the cut maps: what is known of one that said nothing."""
    passed = [
        step for step in history
        if step.cut is None or (position is not None and step.cut.covers(partition, position))
    ]  # fmt: skip
    return passed[-1] if passed else None


def held_records(state: ShardState, end: int, lag: Lag | None) -> int | None:
    """How many records a shard that holds has read and holds back, as of the checkpoint that `lag` is of."""
    if state.holds_at is None or lag is None:
        return None
    return max(0, end - lag.records - state.holds_at)


def shard_rows(
    deployment: str,
    ends: Mapping[int, int],
    states: Mapping[int, ShardState],
    history: Sequence[Step],
    lags: Mapping[int, Lag],
    side: str | None = None,
) -> list[dict[str, Any]]:
    """A row for each partition of telemetry, whose ends are `ends`: what `status` shows. `side`: blue or green, of two jobs that run."""
    rows = []
    for partition, end in sorted(ends.items()):
        state, lag = states.get(partition, ShardState()), lags.get(partition)
        step = expected(history, partition, end - lag.records if lag else None) if state.epoch is None else None
        rows.append({
            "deployment": deployment,
            "side": side,
            "generation": state.generation,
            "duty": state.duty,
            "partition": partition,
            "plan": state.plan_name or (state.plan or (step.plan if step else ""))[:12] or None,
            "plan_digest": state.plan or (step.plan if step else None),
            "epoch": state.epoch if state.epoch is not None else step.epoch if step else None,
            "since": state.since,
            "behind": str(lag) if lag else None,
            "behind_records": lag.records if lag else None,
            "behind_s": lag.seconds if lag else None,
            "holds_at": state.holds_at,
            "held_records": held_records(state, end, lag),
            "reason": state.reason,
            "newest_epoch": history[-1].epoch if history else None,
            "said_by": state.job,
        })  # fmt: skip
    return rows
