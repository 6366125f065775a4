"""The one module that carries shards in PyFlink: a keyed broadcast function, its state, and nothing else.

Input: one row a frame, keyed by a constant per partition (jobs/keying.py), beside the records of `parameters` as broadcast.
Output: rows (topic, key, value); the ledger goes to a side output, since it must not wait for a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from pyflink.common import Row, TypeInformation, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import (
    ListStateDescriptor,
    MapStateDescriptor,
    ValueStateDescriptor,
)

from swapstream.models.errors import InvalidDefinition
from swapstream.models.objects import Objects
from swapstream.operators.assignment import Assignment
from swapstream.operators.collector import calm
from swapstream.operators.computing import Computed, computing
from swapstream.operators.definitions import Definitions
from swapstream.operators.device_store import BASE
from swapstream.operators.frame import RawFrame
from swapstream.operators.ledger import LedgerRow
from swapstream.operators.outputs import Emission
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.run import Run
from swapstream.operators.shard import Shard
from swapstream.operators.shard_state import Change

POLL_MS = 20
"""How soon a shard that holds looks again."""
ASKING_MS = 100
"""And one that has only an answer to give, for which no record waits."""
LATER = 1_000_000
"""Partitions added after submit are keyed by LATER plus their number."""


def binary() -> TypeInformation:
    """A fresh type each time: once used, a TypeInformation holds a Java object, and what captures it can't be pickled."""
    return Types.PRIMITIVE_ARRAY(Types.BYTE())


def frame_type() -> TypeInformation:
    """partition, payloads, offsets, timestamps (ms), keys. A state schema: a column more breaks every savepoint."""
    return Types.ROW(
        [
            Types.INT(),
            Types.OBJECT_ARRAY(binary()),
            Types.OBJECT_ARRAY(Types.LONG()),
            Types.OBJECT_ARRAY(Types.LONG()),
            Types.OBJECT_ARRAY(binary()),
        ]
    )


def parameter_type() -> TypeInformation:
    """offset, value of a record of `parameters`."""
    return Types.ROW([Types.LONG(), binary()])


def message_type() -> TypeInformation:
    """topic, key, value of a message to be written."""
    return Types.ROW([Types.STRING(), binary(), binary()])


def ledger_type() -> TypeInformation:
    """key, value of a ledger row."""
    return Types.ROW([binary(), binary()])


def definitions_state() -> MapStateDescriptor:
    """Broadcast state: each record of `parameters` by offset, as it came."""
    return MapStateDescriptor("definitions", Types.LONG(), binary())


def ledger_tag() -> OutputTag:
    return OutputTag("ledger", ledger_type())


class ShardFunction(KeyedBroadcastProcessFunction):  # type: ignore[misc]
    """Every shard of this worker.

    `topics` maps the role of an emission to its topic, `keys` a partition to the message key that hashes to the same number,
    `partitions` the constant a shard's frames are keyed by to its partition. Models by reference are fetched below `store`, from the
    `prefixes` that are allowed. `job`: Flink's id of this job, where it is known.
    """

    def __init__(
        self,
        assignment: Assignment,
        topics: dict[str, str],
        keys: dict[int, bytes],
        partitions: dict[int, int],
        store: str = "",
        prefixes: Sequence[str] = (),
        job: str | None = None,
    ) -> None:
        self.assignment = assignment
        self.topics = topics
        self.keys = keys
        self.partitions = partitions
        self.store, self.prefixes = store, prefixes
        self.job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        self.head = runtime_context.get_state(ValueStateDescriptor("head", binary()))
        self.table = runtime_context.get_map_state(MapStateDescriptor("table", Types.STRING(), binary()))
        # Where version 1 kept its only table: read, and emptied when the tables are first written.
        self.base = runtime_context.get_state(ValueStateDescriptor("base", binary()))
        self.journal = runtime_context.get_list_state(ListStateDescriptor("journal", binary()))
        self.held = runtime_context.get_list_state(ListStateDescriptor("held", binary()))
        self.definitions = Definitions()
        self.pipelines = Pipelines(self.definitions, self.assignment.namespace, Objects(self.store, self.prefixes))
        self.run = Run(self.job, runtime_context.get_attempt_number(), time.monotonic, blocking=False)
        self.subtask = runtime_context.get_index_of_this_subtask()
        # Now and here: some milliseconds, for which the first record would wait. None when it is told.
        self.computed: Computed | None = Computed.here()
        self.shards: dict[int, Shard] = {}
        self.updates: dict[str, int] = {}
        self.restored = False
        self._measure(runtime_context.get_metrics_group())
        import onnxruntime  # noqa: F401 - now and here: with the first graph that is loaded, records would wait for it for half a second

        calm()

    def process_broadcast_element(self, value: Row, ctx: Any) -> Iterator[Any]:
        self._restore_definitions(ctx)
        offset, body = value
        if offset >= self.definitions.position:
            stored = ctx.get_broadcast_state(definitions_state())
            stored.put(offset, body or b"")
            yield from self._define(offset, body, stored)

    def process_element(self, value: Row, ctx: Any) -> Iterator[Any]:
        self._restore_definitions(ctx)
        partition, payloads, offsets, timestamps, keys = value
        if self.computed:
            row, self.computed = computing(self.assignment, self.run, self.subtask, self.computed, timestamps[0]), None
            yield ledger_tag(), Row(b"worker", row.encode())
        shard = self._shard(partition)
        raw = RawFrame(partition, payloads, np.array(offsets, np.int64), np.array(timestamps, np.int64), keys)
        yield from self._carry(shard, shard.on_frame(raw), ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        self._restore_definitions(ctx)
        shard = self._shard(self._partition(ctx.get_current_key()))
        yield from self._carry(shard, shard.on_timer(), ctx)

    def _restore_definitions(self, ctx: Any) -> None:
        """Broadcast state can be read only where a context is at hand, so at the first call after a (re)start."""
        if self.restored:
            return
        self.restored = True
        for offset, body in sorted(ctx.get_broadcast_state(definitions_state()).items()):
            with suppress(InvalidDefinition):
                statement = self.definitions.add(offset, body or None)
                if statement and statement.kind == "update":
                    self.updates[statement.key] = offset

    def _measure(self, metrics: Any) -> None:
        """What the shards of this worker hold back, in bytes, and the lowest epoch of those that have not retired."""
        if metrics is not None:
            metrics.gauge("heldBytes", lambda: sum(shard.holding.size for shard in self.shards.values()))
            metrics.gauge("epoch", lambda: min(self._epochs(), default=0))

    def _epochs(self) -> Iterator[int]:
        return (shard.scoring.epoch for shard in self.shards.values() if shard.duty != "retired")

    def _define(self, offset: int, body: bytes | None, stored: Any) -> Iterator[Any]:
        """A bad control message goes to the ledger and harms nothing else (C7)."""
        try:
            statement = self.definitions.add(offset, body)
        except InvalidDefinition as error:
            a = self.assignment
            row = LedgerRow(
                f"{a.namespace}/{a.deployment}/rejected/{self.topics['parameters']}/0/{offset}",
                a.namespace,
                a.deployment,
                "rejected",
                f"{a.namespace}/{a.deployment}/parameters",
                0,
                topic=self.topics["parameters"],
                partition=0,
                offset=offset,
                reason=str(error),
            )
            yield ledger_tag(), Row(b"parameters", row.encode())
            return
        if statement and statement.kind == "update":
            self._forget_before(statement.key, offset, stored)

    def _forget_before(self, key: str, offset: int, stored: Any) -> None:
        """Of updates only the newest is needed, as compaction has it; ten a second must not pile up in state."""
        if key in self.updates:
            stored.remove(self.updates[key])
        self.updates[key] = offset

    def _shard(self, partition: int) -> Shard:
        """The shard of the current key, restored from its state when this worker has not met it yet."""
        shard = self.shards.get(partition)
        if shard is None:
            shard = Shard(partition, self.assignment, self.definitions, self.pipelines, self.run)
            head = self.head.value()
            if head is not None:
                shard.restore_parts(head, self._entries(), list(self.held.get()))
            self.shards[partition] = shard
        return shard

    def _entries(self) -> dict[str, bytes]:
        """What is stored of the device tables."""
        base = self.base.value()
        if base is None:
            return dict(self.table.items())
        return {BASE: base} | {f"journal/{number:012}": journal for number, journal in enumerate(self.journal.get())}

    def _carry(self, shard: Shard, emissions: list[Emission], ctx: Any) -> Iterator[Any]:
        """Write the shard's changes, come back for what it holds, and send what it emits."""
        self._write(shard.changes())
        if shard.waiting:
            timers = ctx.timer_service()
            # Rounded: frames that come meanwhile register the same timer, not one more each.
            every = POLL_MS if shard.holding else ASKING_MS
            timers.register_processing_time_timer((timers.current_processing_time() // every + 1) * every)
        for emission in emissions:
            key = emission.key or self._key(shard.partition)
            if emission.role == "ledger":
                yield ledger_tag(), Row(key, emission.value)
            else:
                yield Row(self.topics[emission.role], key, emission.value)

    def _partition(self, constant: int) -> int:
        """The partition that is keyed by a constant; one added since submit is keyed by LATER plus its number."""
        return self.partitions[constant] if constant in self.partitions else constant - LATER

    def _key(self, partition: int) -> bytes:
        return self.keys.get(partition) or str(partition).encode()

    def _write(self, change: Change) -> None:
        self.head.update(change.head)
        if change.cleared:
            self.base.clear()
            self.journal.clear()
            for key in [key for key in self.table.keys() if key.startswith(change.cleared)]:  # noqa: SIM118
                self.table.remove(key)
        for key, entry in change.table.items():
            if entry is None:
                self.table.remove(key)
            else:
                self.table.put(key, entry)
        if change.released:
            self.held.update(change.held)
        else:
            for raw in change.held:
                self.held.add(raw)
