"""What shards answer on the ledger: to a prepare token, and to the tokens of a cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import msgspec

from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment

Row = dict[str, Any]
Quiet = Callable[[set[int]], None]
"""Told the partitions that have not answered, twice a second while nothing comes."""


def acknowledgements(environment: Environment, cut: Cut, timeout: float) -> Iterator[Row]:
    """Each shard's answer to a cut that stands already, one a partition, from all of the ledger. See `activations`."""
    with closing(Ledger(environment, "earliest")) as rows:
        yield from activations(rows, cut, set(cut.offsets), timeout)


def activations(
    rows: Iterable[Row | None], cut: Cut, partitions: set[int], timeout: float, quiet: Quiet | None = None
) -> Iterator[Row]:
    """Each shard's answer to a cut, as they come, one a partition: `activated`, `rejected` or `aborted`.

    Raises ClusterError naming the partitions that have not answered in `timeout` seconds.
    """
    late = f"of {cut.namespace}/{cut.deployment} have not answered to epoch {cut.epoch} in {timeout:g} s: " + (
        "it takes effect there with the next record" if cut.arrival else "the tokens are written and take effect when the job reads them"
    )
    return one_each(rows, partitions, lambda row: answers(row, cut), timeout, late, quiet)


def one_each(
    rows: Iterable[Row | None],
    partitions: set[int],
    wanted: Callable[[Row], bool],
    timeout: float,
    late: str,
    quiet: Quiet | None = None,
) -> Iterator[Row]:
    """The first wanted row of each partition. Raises ClusterError ("shards […] LATE") after `timeout` seconds."""
    waiting, until = set(partitions), time.monotonic() + timeout
    for row in rows:
        if row is None and quiet:
            quiet(waiting)
        if row and wanted(row) and row.get("partition") in waiting:
            waiting.discard(row["partition"])
            yield row
        if not waiting:
            return
        if time.monotonic() > until:
            raise ClusterError(f"shards {sorted(waiting)} {late}")


class Ledger:
    """The rows of the ledger from where it stood when this was made, without end: {} for what is no row, None twice a second while
    nothing comes. `close` ends it."""

    def __init__(self, environment: Environment, start: kafka.Start = "latest") -> None:
        self._records = kafka.Follower(environment, environment.topics.ledger.name, start)

    def __iter__(self) -> Iterator[Row | None]:
        return self

    def __next__(self) -> Row | None:
        record = next(self._records)
        return ledger_row(record) if record else None

    def close(self) -> None:
        self._records.close()


def rows_to_end(environment: Environment, start: kafka.Start = "earliest") -> Iterator[Row]:
    """The rows that the ledger holds by now, in order: {} for what is no row."""
    return map(ledger_row, kafka.read_to_end(environment, environment.topics.ledger.name, start))


def ledger_row(record: kafka.Record) -> Row:
    """A row as a dictionary, with `written`, Kafka's timestamp (ms); what is none, as an empty one."""
    try:
        row = msgspec.json.decode(record.value or b"")
    except msgspec.DecodeError:
        return {}
    return {**row, "written": record.timestamp} if isinstance(row, dict) and hashable(row) else {}


def hashable(row: Row) -> bool:
    """A partition is a number, whatever else somebody wrote onto the ledger."""
    return isinstance(row.get("partition"), int | None)


def answers(row: Row, cut: Cut) -> bool:
    """Whether a row is a shard's answer to a cut: by the token's offset, at arrival by its epoch alone."""
    return (
        row.get("event") in ("activated", "rejected", "aborted")
        and addressed(row, cut.namespace, cut.deployment)
        and row.get("epoch") == cut.epoch
        and (cut.arrival or cut.offsets.get(row.get("partition", -1)) == row.get("offset"))
    )


def prepares(row: Row, cut: Cut) -> bool:
    """Whether a row answers to a prepare token of `cut`, whose offsets are those of the prepare tokens.

    A job that does not know prepare tokens rejects them.
    """
    return (
        row.get("event") in ("prepared", "refused", "rejected")
        and addressed(row, cut.namespace, cut.deployment)
        and (row.get("epoch"), row.get("plan")) == (cut.epoch, cut.plan)
        and cut.offsets.get(row.get("partition", -1)) == row.get("offset")
    )


def addressed(row: Row, namespace: str, deployment: str) -> bool:
    return (row.get("namespace"), row.get("deployment")) == (namespace, deployment)
