"""The shard: one partition's state machine. Pure: no Flink, no clock, no I/O; time and control come in, emissions go out.

starting ──(parameters read to the end seen at submit)──> running ──(token whose plan is there)──> running, next epoch
   │ holds its input                                        │  └──(token that can't be judged yet)──> holding ──> running
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import msgspec

from swapstream.models.errors import InvalidDefinition, InvalidToken, OutOfOrder, SwapstreamError
from swapstream.operators.definitions import Definitions
from swapstream.operators.device_store import BASE
from swapstream.operators.frame import RawFrame
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.operators.outputs import Chain, Emission, answers, dead
from swapstream.operators.pipeline import LoadedInput, Pipeline, Scored
from swapstream.operators.pipelines import Pipelines, missing
from swapstream.operators.readers import Bad
from swapstream.operators.scores import Provenance
from swapstream.operators.shard_state import Change, Head, Snapshot, decode_head, decode_raw, encode_raw
from swapstream.operators.tables import SEPARATOR, Tables
from swapstream.operators.token import FIRST_BYTE, SWAP, Token
from swapstream.operators.wire import read

TOKEN = FIRST_BYTE[0]
DECODED_AT_ONCE = 1024 * 1024
"""Bytes of columnar messages: enough to spread costs, and little enough for the processor's caches."""


class Assignment(msgspec.Struct, frozen=True):
    """What a deployment tells each of its shards: who it is, the plan before any token, how far `parameters` was at submit.

    `max_held` bounds the bytes of input a shard may hold back.
    """

    namespace: str
    deployment: str
    topic: str
    plan: str
    parameters_end: int
    max_held: int = 64 * 1024 * 1024


class Shard:
    """One partition of one deployment."""

    def __init__(self, partition: int, assignment: Assignment, definitions: Definitions, pipelines: Pipelines) -> None:
        self.partition = partition
        self.assignment = assignment
        self.definitions = definitions
        self.pipelines = pipelines
        self.head = Head()
        self.held: deque[RawFrame] = deque()
        self.pipeline: Pipeline | None = None
        self.tables: Tables | None = None
        self._ledger = LedgerWriter(f"{assignment.namespace}/{assignment.deployment}/{assignment.topic}/{partition}")
        self._new_held: list[bytes] = []
        self._released = False
        self._everything = False

    # -- input

    def on_frame(self, raw: RawFrame) -> list[Emission]:
        """Take the next records. Raises OutOfOrder when they don't follow the last ones: the job must restart from its checkpoint."""
        if not len(raw):
            return []
        if raw.offsets[0] <= self.head.last:
            raise OutOfOrder(
                f"{self.assignment.topic}-{self.partition}: a frame begins at offset {raw.offsets[0]}, "
                f"the last one ended at {self.head.last}"
            )
        self._set(last=int(raw.offsets[-1]))
        if self.held or not self._start(raw):
            return self._hold(raw)
        return self._consume(raw)

    def on_control(self) -> list[Emission]:
        """`definitions` has grown: go on with what is held, as far as that goes."""
        emissions: list[Emission] = []
        while self.held and self._ready():
            raw = self.held.popleft()
            self._released = True
            self._start(raw)
            emissions += self._consume(raw)
        return emissions

    def on_timer(self) -> list[Emission]:
        """Timers only release what is held: the same as on_control, for a worker that can't reach a shard otherwise."""
        return self.on_control()

    # -- state

    def changes(self) -> Change:
        """What changed since the last call."""
        table, cleared = self.tables.changes(self._everything) if self.tables is not None else ({}, ())
        held = [encode_raw(raw) for raw in self.held] if self._released else self._new_held
        change = Change(msgspec.msgpack.encode(self.head), table, cleared, held, self._released)
        self._new_held, self._released, self._everything = [], False, False
        return change

    def snapshot(self) -> bytes:
        """All of the state as versioned bytes."""
        tables = self.tables.snapshot() if self.tables is not None else None
        held = [encode_raw(raw) for raw in self.held]
        return msgspec.msgpack.encode(Snapshot(msgspec.msgpack.encode(self.head), tables, held))

    def restore(self, snapshot: bytes) -> None:
        """Take over what `snapshot` gave; `changes` then gives all of it. Raises InvalidDefinition."""
        found = read(snapshot, Snapshot, InvalidDefinition, "a shard's snapshot")
        tables = {"": found.tables} if isinstance(found.tables, bytes) else found.tables or {}
        entries = {f"{schema}{SEPARATOR}{BASE}" if schema else BASE: table for schema, table in tables.items()}
        self.restore_parts(found.head, entries, found.held)
        self._everything = self._released = True

    def restore_parts(self, head: bytes, table: Mapping[str, bytes], held: list[bytes]) -> None:
        """Take over what `changes` gave over time: the last head, and the entries and held frames that are there."""
        self.head = decode_head(head, lambda plan: next(iter(self.pipelines.get(plan).inputs)))
        self.held = deque(map(decode_raw, held))
        self._ledger.prev = self.head.ledger
        if self.head.started:
            self.pipeline = self.pipelines.get(self.head.plan)
            self.tables = Tables.restored(self.pipeline, table)

    @property
    def waiting(self) -> bool:
        """Whether a timer should come back to look for what is missing."""
        return bool(self.held)

    # -- starting and holding

    def _ready(self) -> bool:
        """Whether the first held record can be judged now."""
        if not self.head.started:
            return self.definitions.position >= self.assignment.parameters_end
        first = self.held[0].payloads[0]
        return not self._must_wait(first)

    def _must_wait(self, payload: bytes | None) -> bool:
        if payload is None or not is_token(payload):
            return False
        try:
            token = Token.decode(payload)
        except InvalidToken:
            return False
        wanted = self._addressed(token) and not self._misplaced(token)
        return wanted and token.parameters_end > self.definitions.position

    def _start(self, raw: RawFrame) -> bool:
        """Choose the first plan by the cut maps (C1); false while `parameters` is not read far enough."""
        if self.head.started:
            return True
        if self.definitions.position < self.assignment.parameters_end:
            return False
        epoch, plan = self._plan_at(int(raw.offsets[0]))
        self._set(started=True, epoch=epoch, plan=plan)
        self._activate(plan)
        return True

    def _plan_at(self, offset: int) -> tuple[int, str]:
        """Epoch and plan of the record at `offset`: the newest cut's before it whose plan could be activated."""
        for cut in reversed(self.definitions.cuts(self.assignment.namespace, self.assignment.deployment)):
            covered = cut.topic == self.assignment.topic and cut.covers(self.partition, offset)
            if covered and not self._unusable(cut.plan):
                return cut.epoch, cut.plan
        return 0, self.assignment.plan

    def _activate(self, digest: str) -> None:
        """Go on under another plan; state of extractors that stay the same is carried over."""
        before, self.pipeline = self.pipeline, self.pipelines.get(digest)
        if self.tables is None or before is None:
            self.tables = Tables.new(self.pipeline)
        else:
            self.tables = self.tables.carried(before, self.pipeline)

    def _hold(self, raw: RawFrame) -> list[Emission]:
        self.held.append(raw)
        self._new_held.append(encode_raw(raw))
        size = sum(len(payload or b"") for frame in self.held for payload in frame.payloads)
        if size > self.assignment.max_held:
            raise OutOfOrder(
                f"{self.assignment.topic}-{self.partition}: holds {size} bytes, more than {self.assignment.max_held}; "
                f"`parameters` has been read to {self.definitions.position}"
            )
        return []

    # -- records

    def _consume(self, raw: RawFrame) -> list[Emission]:
        emissions: list[Emission] = []
        start = 0
        # Written out, not by is_token: this looks at every record, and a call costs more than the decoding.
        for index in [i for i, payload in enumerate(raw.payloads) if payload and payload[0] == TOKEN]:
            emissions += self._score(raw, start, index)
            start = index + 1
            if self._must_wait(raw.payloads[index]):
                self._released = True
                self.held.appendleft(raw.slice(index, len(raw)))
                return [
                    *emissions,
                    self._row("holding", raw, index, reason=f"parameters is read to {self.definitions.position}"),
                ]
            emissions += self._judge(raw, index)
        return emissions + self._score(raw, start, len(raw))

    def _judge(self, raw: RawFrame, index: int) -> list[Emission]:
        """Act on a token (or what starts like one). What decides lies below `parameters_end`, never what arrived since."""
        payload = raw.payloads[index]
        assert payload is not None
        try:
            token = Token.decode(payload)
        except InvalidToken as error:
            return list(dead(self.assignment.topic, raw, [Bad(index, None, "token", str(error))]))
        if not self._addressed(token):
            return []
        reason = self._refusal(token)
        if reason:
            return [self._row("rejected", raw, index, token, reason)]
        self._set(epoch=token.epoch, plan=token.plan)
        self._activate(token.plan)
        return [self._row("activated", raw, index, token)]

    def _addressed(self, token: Token) -> bool:
        ours = (self.assignment.namespace, self.assignment.deployment)
        return (token.namespace, token.deployment) == ours

    def _refusal(self, token: Token) -> str | None:
        """Why a token of this deployment has no effect, None if it has."""
        return self._misplaced(token) or self._unusable(token.plan, token.parameters_end)

    def _unusable(self, plan: str, before: int | None = None) -> str | None:
        """Why a plan can't be run, None if it can. Only its bytes decide, so that every worker finds the same."""
        absent = missing(self.definitions, self.assignment.namespace, plan, before)
        if absent:
            return absent
        try:
            self.pipelines.get(plan)
        except SwapstreamError as error:
            return str(error)
        return None

    def _misplaced(self, token: Token) -> str | None:
        """Why a token of this deployment has no effect whatever `parameters` holds, None if that must be looked at."""
        if token.kind != SWAP:
            return f"kind {token.kind!r} is unknown to this release"
        if (token.topic, token.partition) != (self.assignment.topic, self.partition):
            return f"written for {token.topic}-{token.partition}, found in {self.assignment.topic}-{self.partition}"
        if token.epoch <= self.head.epoch:
            return f"epoch {token.epoch} is not above {self.head.epoch}, the shard's"
        return None

    def _score(self, raw: RawFrame, start: int, stop: int) -> list[Emission]:
        emissions: list[Emission] = []
        assert self.pipeline is not None
        assert self.tables is not None
        for first, last in self._portions(raw, start, stop):
            frames, bad = self.pipeline.decoders.decode(raw, first, last)
            emissions += dead(self.assignment.topic, raw, bad)
            for part, frame in zip(self.pipeline.inputs.values(), frames, strict=True):
                if len(frame):
                    emissions += self._answer(part.process(frame, self.tables[part.schema.name]), part)
        return emissions

    def _portions(self, raw: RawFrame, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The records from start to stop (exclusive) in runs that are decoded at once."""
        assert self.pipeline is not None
        if self.pipeline.columnar:
            size = 0
            for index in range(start, stop - 1):
                size += len(raw.payloads[index] or b"")
                if size >= DECODED_AT_ONCE:
                    yield start, index + 1
                    start, size = index + 1, 0
        if start < stop:
            yield start, stop

    # -- output

    def _answer(self, scored: Scored, part: LoadedInput) -> list[Emission]:
        assert self.pipeline is not None
        a, schema = self.assignment, part.schema.name
        plan, ref = self.pipeline.plan.name, part.extractor.ref
        provenance = Provenance(
            a.namespace, a.deployment, a.topic, self.partition, self.head.epoch, plan, self.pipeline.digest, ref, schema
        )
        emissions, chain = answers(scored, part, provenance, self.head.chains.get(schema, Chain()))
        self._set(chains={**self.head.chains, schema: chain})
        return emissions

    def _row(
        self, event: str, raw: RawFrame, index: int, token: Token | None = None, reason: str | None = None
    ) -> Emission:
        offset, a = int(raw.offsets[index]), self.assignment
        plan = token.plan if token else self.head.plan
        name = self.pipeline.plan.name if self.pipeline and self.pipeline.digest == plan else None
        row = LedgerRow(
            f"{a.namespace}/{a.deployment}/{event}/{a.topic}/{self.partition}/{offset}",
            a.namespace,
            a.deployment,
            event,
            self._ledger.writer,
            int(raw.timestamps[index]),
            topic=a.topic,
            partition=self.partition,
            offset=offset,
            epoch=token.epoch if token else self.head.epoch,
            plan=plan,
            plan_name=name,
            who=token.who if token else None,
            reason=reason,
        )
        value = self._ledger.write(row)
        self._set(ledger=self._ledger.prev)
        return Emission("ledger", None, value)

    def _set(self, **changes: object) -> None:
        self.head = msgspec.structs.replace(self.head, **changes)


def is_token(payload: bytes | None) -> bool:
    return payload is not None and payload[:1] == FIRST_BYTE
