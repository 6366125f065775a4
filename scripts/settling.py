"""Waiting until a job that was away is as little behind as the one before it was."""

from __future__ import annotations

import time
from collections.abc import Mapping

from swapstream.models.errors import ClusterError
from swapstream.scripts.bounds import end_offsets
from swapstream.scripts.environment import Environment
from swapstream.scripts.lag import Lag, lags

LOOK_AGAIN = 0.5


def behind_now(environment: Environment, group: str) -> dict[int, Lag]:
    """Partition → how far a job, by its consumer group, is behind the end of telemetry. Raises ClusterError."""
    return lags(environment, group, end_offsets(environment, environment.topics.telemetry.name))


def settled(before: Mapping[int, Lag], now: Mapping[int, Lag], checkpoint_ms: int) -> bool:
    """Whether no shard is further behind than it was. Positions are those of the last checkpoint: what came since then counts as unread,
    though it is not, so that nobody is less than a checkpoint or two behind."""
    slack = 2 * checkpoint_ms / 1000 + 1
    return all((lag.seconds or 0.0) <= max(slack, _seconds(before, partition)) for partition, lag in now.items())


def _seconds(before: Mapping[int, Lag], partition: int) -> float:
    return before[partition].seconds or 0.0 if partition in before else 0.0


def settle(environment: Environment, group: str, before: Mapping[int, Lag], checkpoint_ms: int, seconds: float) -> str:
    """Wait for that, `seconds` at most; returns how far the job is behind, in words."""
    until = time.monotonic() + seconds
    while True:
        try:
            now = behind_now(environment, group)
        except ClusterError as error:  # a user who may not ask for it has upgraded all the same
            return str(error)
        if settled(before, now, checkpoint_ms):
            return words(now)
        if time.monotonic() > until:
            return f"{words(now)}, which is more than before"
        time.sleep(LOOK_AGAIN)


def words(now: Mapping[int, Lag]) -> str:
    """As of the job's last checkpoint."""
    return f"{sum(lag.records for lag in now.values()):,} records behind"
