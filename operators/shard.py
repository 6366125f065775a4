"""The shard: one partition's state machine. Pure: no Flink, no clock, no I/O; time and control come in, emissions go out.

starting ──(parameters read to the end seen at submit)──> running ──(token whose plan is there)──> running, next epoch
   │ holds its input                                        │  └──(token that can't be judged yet)──> holding ──> running
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from swapstream.models.errors import InvalidDefinition, OutOfOrder
from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.device_store import BASE
from swapstream.operators.frame import RawFrame
from swapstream.operators.holding import Holding
from swapstream.operators.judging import Judge, Verdict
from swapstream.operators.outputs import Emission, dead
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.readers import Bad
from swapstream.operators.reporting import Reporter
from swapstream.operators.scoring import Scoring
from swapstream.operators.shard_state import Change, Head, Snapshot, decode_head
from swapstream.operators.snapshots import Snapshots, Why
from swapstream.operators.starting import plan_at
from swapstream.operators.tables import SEPARATOR, Tables
from swapstream.operators.token import FIRST_BYTE
from swapstream.operators.wire import read

TOKEN = FIRST_BYTE[0]


class Shard:
    """One partition of one deployment."""

    def __init__(self, partition: int, assignment: Assignment, definitions: Definitions, pipelines: Pipelines) -> None:
        self.partition = partition
        self.assignment = assignment
        self.definitions = definitions
        self.pipelines = pipelines
        self.started = False
        self.last = -1
        self.holding = Holding()
        self.scoring = Scoring(partition, assignment)
        self.judge = Judge(partition, assignment, definitions, pipelines)
        self.reporter = Reporter(partition, assignment)
        whose = (assignment.namespace, assignment.deployment, assignment.topic, partition)
        self.snapshots = Snapshots(*whose, assignment.snapshot_every_ms)
        self._everything = False

    # -- input

    def on_frame(self, raw: RawFrame) -> list[Emission]:
        """Take the next records. Raises OutOfOrder when they don't follow the last ones: the job must restart from its checkpoint."""
        if not len(raw):
            return []
        if raw.offsets[0] <= self.last:
            raise OutOfOrder(
                f"{self.assignment.topic}-{self.partition}: a frame begins at offset {raw.offsets[0]}, "
                f"the last one ended at {self.last}"
            )
        self.last = int(raw.offsets[-1])
        if self.holding or not self._start(raw):
            return self._hold(raw)
        return self._consume(raw)

    def on_control(self) -> list[Emission]:
        """`definitions` has grown: go on with what is held, as far as that goes."""
        emissions: list[Emission] = []
        while self.holding and self._ready(self.holding.frames[0]):
            emissions += self._consume(self.holding.take())
        return emissions

    def on_timer(self) -> list[Emission]:
        """Timers only release what is held: the same as on_control, for a worker that can't reach a shard otherwise."""
        return self.on_control()

    # -- state

    @property
    def head(self) -> Head:
        """The small part of the state."""
        pipeline = self.scoring.pipeline
        plan = pipeline.digest if pipeline else ""
        return Head(self.started, self.scoring.epoch, plan, self.last, self.scoring.chains, self.reporter.prev)

    @property
    def tables(self) -> Tables | None:
        """The device tables, None before the start."""
        return self.scoring.tables

    def changes(self) -> Change:
        """What changed since the last call."""
        table, cleared = self.tables.changes(self._everything) if self.tables is not None else ({}, ())
        held, released = self.holding.changes(self._everything)
        self._everything = False
        return Change(msgspec.msgpack.encode(self.head), table, cleared, held, released)

    def snapshot(self) -> bytes:
        """All of the state as versioned bytes."""
        tables = self.tables.snapshot() if self.tables is not None else None
        return msgspec.msgpack.encode(Snapshot(msgspec.msgpack.encode(self.head), tables, self.holding.encoded()))

    def restore(self, snapshot: bytes) -> None:
        """Take over what `snapshot` gave; `changes` then gives all of it. Raises InvalidDefinition."""
        found = read(snapshot, Snapshot, InvalidDefinition, "a shard's snapshot")
        tables = {"": found.tables} if isinstance(found.tables, bytes) else found.tables or {}
        entries = {f"{schema}{SEPARATOR}{BASE}" if schema else BASE: table for schema, table in tables.items()}
        self.restore_parts(found.head, entries, found.held)
        self._everything = True

    def restore_parts(self, head: bytes, table: Mapping[str, bytes], held: list[bytes]) -> None:
        """Take over what `changes` gave over time: the last head, and the entries and held frames that are there."""
        found = decode_head(head, lambda plan: next(iter(self.pipelines.get(plan).inputs)))
        self.started, self.last = found.started, found.last
        self.holding.restore(held)
        self.reporter.restore(found.ledger)
        if found.started:
            self.scoring.restore(self.pipelines.get(found.plan), found.epoch, found.chains, table)

    @property
    def waiting(self) -> bool:
        """Whether a timer should come back to look for what is missing."""
        return bool(self.holding)

    # -- starting and holding

    def _start(self, raw: RawFrame) -> bool:
        """Choose the first plan, by the cut maps (C1); false while `parameters` is not read far enough."""
        if self.started:
            return True
        if self.definitions.position < self.assignment.parameters_end:
            return False
        epoch, plan = plan_at(int(raw.offsets[0]), self.partition, self.assignment, self.definitions, self.judge)
        self.scoring.activate(self.pipelines.get(plan), epoch)
        self.started = True
        self._publish("start", int(raw.offsets[0]) - 1, raw, 0)
        return True

    def _ready(self, raw: RawFrame) -> bool:
        """Whether the first record of a held frame can be judged now."""
        first = raw.payloads[0]
        if not self._start(raw) or not is_token(first):
            return self.started
        assert first is not None
        return self.judge.judge(first, self.scoring.epoch).action != "hold"

    def _hold(self, raw: RawFrame) -> list[Emission]:
        self.holding.add(raw)
        if self.holding.size > self.assignment.max_held:
            raise OutOfOrder(
                f"{self.assignment.topic}-{self.partition}: holds {self.holding.size} bytes, more than "
                f"{self.assignment.max_held}; `parameters` has been read to {self.definitions.position}"
            )
        return []

    # -- records

    def _consume(self, raw: RawFrame) -> list[Emission]:
        """Records up to the first token that can't be judged yet; from there on they are held."""
        emissions: list[Emission] = []
        start = 0
        # Written out, not by is_token: this looks at every record, and a call costs more than the decoding.
        for index in [i for i, payload in enumerate(raw.payloads) if payload and payload[0] == TOKEN]:
            emissions += self.scoring.score(raw, start, index)
            start = index + 1
            payload = raw.payloads[index]
            assert payload is not None
            verdict = self.judge.judge(payload, self.scoring.epoch)
            emissions += self._act(verdict, raw, index)
            if verdict.action == "hold":
                self.holding.put_back(raw.slice(index, len(raw)))
                return emissions
        emissions += self.scoring.score(raw, start, len(raw))
        assert self.tables is not None
        return emissions + self.snapshots.sent(self.head, self.tables, int(raw.timestamps[-1]))

    def _act(self, verdict: Verdict, raw: RawFrame, index: int) -> list[Emission]:
        """Do what was judged."""
        token = verdict.token
        if token is None:
            return list(dead(self.assignment.topic, raw, [Bad(index, None, "token", verdict.reason)]))
        if verdict.action == "skip":
            return []
        if verdict.action == "hold":
            epoch, plan, name = self.scoring.epoch, self.head.plan, self._name(self.head.plan)
            return [self.reporter.row("holding", raw, index, epoch=epoch, plan=plan, plan_name=name, reason=verdict.reason)]
        if verdict.action == "take":
            self.scoring.activate(self.pipelines.get(token.plan), token.epoch)
            self._publish("cut", int(raw.offsets[index]), raw, index)
        event = "activated" if verdict.action == "take" else "rejected"
        return [
            self.reporter.row(
                event, raw, index, epoch=token.epoch, plan=token.plan, plan_name=self._name(token.plan), who=token.who,
                reason=verdict.reason,
            )
        ]

    def _publish(self, why: Why, offset: int, raw: RawFrame, index: int) -> None:
        """The state right behind the record at `offset`, at the log time of a record of this frame."""
        assert self.tables is not None
        self.snapshots.began(why, self.head, self.tables, offset, int(raw.timestamps[index]))

    def _name(self, plan: str) -> str | None:
        """The name of the plan in force, if that is the one with this digest."""
        pipeline = self.scoring.pipeline
        return pipeline.plan.name if pipeline and pipeline.digest == plan else None


def is_token(payload: bytes | None) -> bool:
    return payload is not None and payload[:1] == FIRST_BYTE
