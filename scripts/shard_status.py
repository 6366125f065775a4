"""What `swapstream status` knows of shards: the plan and epoch of each, how far it is behind, what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from kafka.errors import KafkaError

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.scripts.acknowledge import Row, rows_to_end
from swapstream.scripts.bounds import end_offsets, starts
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.history import history
from swapstream.scripts.lag import lags
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.shards import Said, ShardState, answering, said, shard_rows, standing
from swapstream.scripts.submitted import submission, submitted_plan
from swapstream.scripts.topics import admin
from swapstream.scripts.transactions import open_transactions

SHARD_COLUMNS = ("deployment", "side", "partition", "duty", "plan", "epoch", "behind", "holds_at", "held_records", "reason")
NEWEST = 50_000
"""Rows of the ledger that are looked at: a trainer may write hundreds a second."""


class Side(NamedTuple):
    """A job of a deployment: its generation (None: not known here), the consumer group it reads as, which of two it is, and what its
    shards do before they say anything (None: what those of the job before did)."""

    generation: int | None
    group: str
    name: str | None = None
    at_first: ShardState | None = None


def sides(environment: Environment, namespace: str, deployment: str) -> list[Side]:
    """The jobs of a deployment: one, or blue and green during a handover."""
    deployments = Deployments(environment)
    main = deployments.find(deployment) if namespace == environment.job.namespace else None
    spec = submission(environment, namespace, deployment)
    if main is None or spec is None:
        return [Side(None, f"{namespace}.{deployment}")]
    path = deployments.spec(deployment, green=True)
    green = JobSpec.read(path) if path.is_file() else None
    if green is None or green.upgrade is None or green.upgrade.mode != "handover":
        return [Side(main.generation, spec.group)]
    mute = ShardState(green.upgrade.epoch, green.upgrade.plan, generation=green.generation, duty="mute")
    return [Side(main.generation, spec.group, "blue"), Side(green.generation, green.group, "green", mute)]


def states_of(side: Side, partitions: Iterable[int], found: Said) -> dict[int, ShardState]:
    """What each shard of a job does."""
    if side.generation is None:
        return answering(found)
    if side.at_first:
        return {**dict.fromkeys(partitions, side.at_first), **found.get(side.generation, {})}
    return {partition: standing(found, side.generation, partition) for partition in partitions}


def shards_of(environment: Environment, deployments: Iterable[str]) -> list[dict[str, Any]]:
    """A row for each shard of each job of each deployment (namespace.name); none where the broker does not answer, and for
    deployments that read other topics."""
    names = list(dict.fromkeys(deployments))
    if not names:
        return []
    try:
        definitions, rows = read_definitions(environment), newest_rows(environment)
        ends = end_offsets(environment, environment.topics.telemetry.name)
        shown = []
        for name in names:
            namespace, _, deployment = name.rpartition(".")
            spec = submission(environment, namespace, deployment)
            if spec and spec.job == "rekey":
                shown += rekeying_rows(environment.reading(spec.topics["telemetry"]), spec)
                continue
            steps = history(definitions, namespace, deployment, submitted_plan(environment, namespace, deployment))
            found = said(rows, namespace, deployment)
            for side in sides(environment, namespace, deployment):
                states, behind = states_of(side, ends, found), lags(environment, side.group, ends)
                if steps or found or behind:
                    shown += shard_rows(name, ends, states, steps, behind, side.name)
        return shown
    except ClusterError:
        return []


def rekeying_rows(environment: Environment, spec: JobSpec) -> list[dict[str, Any]]:
    """How far a rekey job is in each partition of what it reads, which is the telemetry of this environment."""
    ends = end_offsets(environment, environment.topics.telemetry.name)
    return shard_rows(spec.name, ends, {}, [], lags(environment, spec.group, ends), None)


def newest_rows(environment: Environment) -> list[Row]:
    """The last rows of the ledger, in order."""
    return list(rows_to_end(environment, starts(environment, environment.topics.ledger.name, NEWEST)))


def held_back(environment: Environment) -> list[str]:
    """Transactions that hold readers of telemetry back, in words; none where that can't be asked."""
    telemetry = environment.topics.telemetry
    with suppress(ClusterError, KafkaError), admin(environment) as client:
        return [str(found) for found in open_transactions(client, telemetry.name, telemetry.partitions)]
    return []
