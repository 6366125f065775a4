"""What shards answer on the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment


def acknowledgements(environment: Environment, cut: Cut, timeout: float) -> Iterator[dict[str, Any]]:
    """Each shard's `activated` or `rejected` row for a cut's epoch, as they come, one a partition.

    Raises ClusterError naming the partitions that have not answered in `timeout` seconds.
    """
    waiting = set(cut.offsets)
    until = time.monotonic() + timeout
    for record in kafka.follow(environment, environment.topics.ledger.name, start="earliest"):
        row = ledger_row(record.value) if record else {}
        if answers(row, cut) and row["partition"] in waiting:
            waiting.discard(row["partition"])
            yield row
        if not waiting:
            return
        if time.monotonic() > until:
            raise ClusterError(
                f"shards {sorted(waiting)} of {cut.namespace}/{cut.deployment} have not answered to epoch {cut.epoch} in "
                f"{timeout:g} s: the tokens are written and take effect when the job reads them"
            )


def ledger_row(value: bytes | None) -> dict[str, Any]:
    """A row as a dictionary; what is none, as an empty one."""
    try:
        row = msgspec.json.decode(value or b"")
    except msgspec.DecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def answers(row: dict[str, Any], cut: Cut) -> bool:
    """Whether a row is a shard's answer to a cut's token."""
    return (
        row.get("event") in ("activated", "rejected")
        and row.get("namespace") == cut.namespace
        and row.get("deployment") == cut.deployment
        and row.get("epoch") == cut.epoch
        and cut.offsets.get(row.get("partition", -1)) == row.get("offset")
    )
