"""The shard: one partition's state machine. Pure: no Flink, no clock, no I/O; time and control come in, emissions go out.

starting ──(parameters read to the end seen at submit)──> running ──(token whose plan is there)──> running, next epoch
   │ holds its input                                        │  └──(token that can't be judged yet)──> holding ──> running
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition, InvalidToken, OutOfOrder, SwapstreamError
from swapstream.operators.anomalies import anomalies
from swapstream.operators.dead_letters import dead_letter
from swapstream.operators.definitions import Definitions
from swapstream.operators.device_store import BASE
from swapstream.operators.devices import DeviceTable
from swapstream.operators.frame import RawFrame
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.operators.pipeline import Pipeline, Scored
from swapstream.operators.pipelines import Pipelines, missing
from swapstream.operators.scores import Provenance, features_frames, scores_frames
from swapstream.operators.token import FIRST_BYTE, SWAP, Token
from swapstream.operators.wire import read

VERSION = 1
TOKEN = FIRST_BYTE[0]
Role = Literal["scores", "features", "anomalies", "dead_letters", "ledger"]


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


class Emission(msgspec.Struct, frozen=True, gc=False):
    """A message for the topic of a role. Without a key it goes by the shard's partition."""

    role: Role
    key: bytes | None
    value: bytes


class Head(msgspec.Struct, frozen=True):
    """The small part of a shard's state, written with every frame.

    `last` is the offset of the last record taken (held ones included), `prev` and `prev_features` the last offsets sent to `scores`
    and `features`, `ledger` the digest of the last ledger row.
    """

    started: bool = False
    epoch: int = 0
    plan: str = ""
    last: int = -1
    prev: int = -1
    prev_features: int = -1
    ledger: str = ""
    v: int = VERSION


class Change(msgspec.Struct, frozen=True, gc=False):
    """What of the state is to be written: entries of the device table to put, or with None to remove; `anew`: they replace
    all that are there. `held` is added to the held frames, or replaces them when some were `released`."""

    head: bytes
    table: dict[str, bytes | None]
    anew: bool
    held: list[bytes]
    released: bool


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All of a shard's state: the head, the device table (None before the start) and the held frames, each versioned bytes."""

    head: bytes
    table: bytes | None
    held: list[bytes]


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A held frame on disk: the columns of a RawFrame."""

    v: int
    partition: int
    payloads: list[bytes | None]
    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes | None]


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
        self.table: DeviceTable | None = None
        self._ledger = LedgerWriter(f"{assignment.namespace}/{assignment.deployment}/{assignment.topic}/{partition}")
        self._new_held: list[bytes] = []
        self._released = False

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
        anew = self.table is not None and self.table.needs_rebase
        entries: dict[str, bytes | None] = {}
        if self.table is not None:
            entries = self.table.rebase() if anew else self.table.changes()
        held = [encode_raw(raw) for raw in self.held] if self._released else self._new_held
        change = Change(msgspec.msgpack.encode(self.head), entries, anew, held, self._released)
        self._new_held, self._released = [], False
        return change

    def snapshot(self) -> bytes:
        """All of the state as versioned bytes."""
        table = self.table.snapshot() if self.table is not None else None
        held = [encode_raw(raw) for raw in self.held]
        return msgspec.msgpack.encode(Snapshot(msgspec.msgpack.encode(self.head), table, held))

    def restore(self, snapshot: bytes) -> None:
        """Take over what `snapshot` gave; `changes` then gives all of it. Raises InvalidDefinition."""
        found = read(snapshot, Snapshot, InvalidDefinition, "a shard's snapshot")
        self.restore_parts(found.head, {} if found.table is None else {BASE: found.table}, found.held)
        self._released = True

    def restore_parts(self, head: bytes, table: Mapping[str, bytes], held: list[bytes]) -> None:
        """Take over what `changes` gave over time: the last head, the table's entries that are there, and the held frames."""
        self.head = read(head, Head, InvalidDefinition, "a shard's state")
        if self.head.v != VERSION:
            raise InvalidDefinition(f"shard state of version {self.head.v}: this release reads version {VERSION}")
        self.held = deque(map(decode_raw, held))
        self._ledger.prev = self.head.ledger
        if self.head.started:
            self.pipeline = self.pipelines.get(self.head.plan)
            extractor = self.pipeline.extractor
            self.table = extractor.restore(table) if table else extractor.table()

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
        self.pipeline = self.pipelines.get(digest)
        extractor = self.pipeline.extractor
        self.table = extractor.table() if self.table is None else extractor.carry(self.table)

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
            return [self._dead(raw, index, "token", str(error))]
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
        if start == stop:
            return []
        assert self.pipeline is not None
        assert self.table is not None
        frame, bad = self.pipeline.decoder.decode(raw, start, stop)
        emissions = [self._dead(raw, index, reason, detail) for index, reason, detail in bad]
        return (
            emissions + self._emit(self.pipeline.process(frame, self.table), self.pipeline) if len(frame) else emissions
        )

    # -- output

    def _emit(self, scored: Scored, pipeline: Pipeline) -> list[Emission]:
        provenance = Provenance(
            self.assignment.namespace,
            self.assignment.deployment,
            self.assignment.topic,
            self.partition,
            self.head.epoch,
            pipeline.plan.name,
            pipeline.digest,
            pipeline.extractor.ref,
        )
        emissions = []
        for frame in scores_frames(scored, provenance, self.head.prev):
            emissions.append(Emission("scores", None, frame.encode()))
            self._set(prev=frame.last)
        for frame in features_frames(scored, pipeline.extractor.features, provenance, self.head.prev_features):
            emissions.append(Emission("features", None, frame.encode()))
            self._set(prev_features=frame.last)
        if scored.anomalous.any():
            emissions += [
                Emission("anomalies", found.device.encode(), found.encode())
                for found in anomalies(scored, pipeline, provenance)
            ]
        return emissions

    def _dead(self, raw: RawFrame, index: int, reason: str, detail: str) -> Emission:
        letter = dead_letter(
            self.assignment.topic,
            self.partition,
            int(raw.offsets[index]),
            int(raw.timestamps[index]),
            reason,
            detail,
            raw.payloads[index],
        )
        return Emission("dead_letters", None, letter.encode())

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


def encode_raw(raw: RawFrame) -> bytes:
    """A held frame as versioned bytes."""
    return msgspec.msgpack.encode(
        Held(VERSION, raw.partition, raw.payloads, raw.offsets.tolist(), raw.timestamps.tolist(), raw.keys)
    )


def decode_raw(data: bytes) -> RawFrame:
    """Raises InvalidDefinition."""
    held = read(data, Held, InvalidDefinition, "a held frame")
    if held.v != VERSION:
        raise InvalidDefinition(f"held frame of version {held.v}: this release reads version {VERSION}")
    offsets, timestamps = np.array(held.offsets, np.int64), np.array(held.timestamps, np.int64)
    return RawFrame(held.partition, held.payloads, offsets, timestamps, held.keys)
