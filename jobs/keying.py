"""Where a shard runs: a constant to key its frames by, for each partition.

A handful of integer keys hash unevenly over subtasks. Each partition is keyed by a constant, found by search, whose key group
lies in the partition's share of the key groups under both hashes that the job uses: that of SQL's rows, where frames are
built, and that of the external Row by which the stream is keyed. So shards are spread evenly at every parallelism.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from pyflink.java_gateway import get_gateway

from swapstream.jobs.spec import MAX_PARALLELISM


def shard_constants(partitions: int) -> dict[int, int]:
    """partition → constant. Stable for a number of partitions: state is found by it."""
    groups = KeyGroups()
    constants: dict[int, int] = {}
    candidates = iter(count())
    while len(constants) < partitions:
        candidate = next(candidates)
        partition = groups.share(candidate, partitions)
        if partition is not None:
            constants.setdefault(partition, candidate)
    return dict(sorted(constants.items()))


class KeyGroups:
    """Asks Flink itself for the key group of an integer key under both hashes."""

    def __init__(self) -> None:
        jvm: Any = get_gateway().jvm
        self._assign = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
        self._row = jvm.org.apache.flink.types.Row
        self._binary = jvm.org.apache.flink.table.data.binary.BinaryRowData
        self._writer = jvm.org.apache.flink.table.data.writer.BinaryRowWriter

    def share(self, key: int, partitions: int) -> int | None:
        """The partition in whose share of the key groups the key lies under both hashes, None if they differ."""
        shares = {group * partitions // MAX_PARALLELISM for group in (self._external(key), self._internal(key))}
        return shares.pop() if len(shares) == 1 else None

    def _external(self, key: int) -> int:
        row = self._row(1)
        row.setField(0, key)
        return int(self._assign(row, MAX_PARALLELISM))

    def _internal(self, key: int) -> int:
        row = self._binary(1)
        writer = self._writer(row)
        writer.writeInt(0, key)
        writer.complete()
        return int(self._assign(row, MAX_PARALLELISM))
