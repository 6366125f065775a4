"""What `swapstream status` knows of shards: the plan and epoch of each, how far it is behind, what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from kafka.errors import KafkaError

from swapstream.models.errors import ClusterError
from swapstream.scripts import kafka
from swapstream.scripts.acknowledge import Row, ledger_row
from swapstream.scripts.environment import Environment
from swapstream.scripts.history import history
from swapstream.scripts.lag import lags
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.shards import shard_rows, shard_states
from swapstream.scripts.submitted import submitted_plan
from swapstream.scripts.topics import admin
from swapstream.scripts.transactions import open_transactions
from swapstream.scripts.watch import end_offsets

SHARD_COLUMNS = ("deployment", "partition", "plan", "epoch", "behind", "holds_at", "held_records", "reason")
NEWEST = 50_000
"""Rows of the ledger that are looked at: a trainer may write hundreds a second."""


def shards_of(environment: Environment, deployments: Iterable[str]) -> list[dict[str, Any]]:
    """A row for each shard of each deployment (namespace.name); none where the broker does not answer, and for deployments that
    read other topics."""
    names = list(deployments)
    if not names:
        return []
    try:
        definitions, rows = read_definitions(environment), newest_rows(environment)
        ends = end_offsets(environment, environment.topics.telemetry.name)
        found = []
        for name in names:
            namespace, _, deployment = name.rpartition(".")
            steps = history(definitions, namespace, deployment, submitted_plan(environment, namespace, deployment))
            states, behind = shard_states(rows, namespace, deployment), lags(environment, name, ends)
            if steps or states or behind:
                found += shard_rows(name, ends, states, steps, behind)
        return found
    except ClusterError:
        return []


def newest_rows(environment: Environment) -> list[Row]:
    """The last rows of the ledger, in order."""
    topic = environment.topics.ledger.name
    start = {partition: max(0, end - NEWEST) for partition, end in end_offsets(environment, topic).items()}
    return [ledger_row(record) for record in kafka.read_to_end(environment, topic, start)]


def held_back(environment: Environment) -> list[str]:
    """Transactions that hold readers of telemetry back, in words; none where that can't be asked."""
    telemetry = environment.topics.telemetry
    with suppress(ClusterError, KafkaError), admin(environment) as client:
        return [str(found) for found in open_transactions(client, telemetry.name, telemetry.partitions)]
    return []
