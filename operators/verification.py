"""Verification (C6): the telemetry of a partition is run again through the shard, and what it gives compared with what was put out.

Pure: records, parameters and emitted messages go in, counts and the first divergence come out. What depended on more than the
telemetry log, so when something took effect at arrival and what was aborted, is taken from the emitted frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

import msgspec
import numpy as np

from swapstream.models.errors import InvalidToken
from swapstream.operators.assignment import Assignment
from swapstream.operators.comparison import EXACT, Comparison, Divergence, Tolerances
from swapstream.operators.frame import RawFrame
from swapstream.operators.judging import PATIENCE
from swapstream.operators.outputs import Emission, Role
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.recorded import Recorded
from swapstream.operators.rows import NONE, Message, Origin, Reader, Rows, first_offset, origin, read_message
from swapstream.operators.scores import ScoresFrame
from swapstream.operators.scoring import Witness
from swapstream.operators.shard import Shard
from swapstream.operators.snapshots import Published
from swapstream.operators.token import FIRST_BYTE, HANDOVER, PREPARE, Token, is_token

TOKEN = FIRST_BYTE[0]
AHEAD = 200_000
"""Offsets that the emitted side is read ahead: more than a frame spans, whose messages of several schemas overlap, and as far as
a job goes back after a failure, so that repeats are compared."""
BLOCK = 100_000
"""Rows that are compared at once."""
TAKEN = 1_000
"""Messages that become rows at once."""
Memory = Callable[[str], dict[str, dict[str, list[float]]]]
"""What is remembered of a device, by schema and column of the device table; nothing of who is not known."""
COMPARED: tuple[Role, ...] = ("scores", "features", "dead_letters", "anomalies")


class Span(msgspec.Struct, frozen=True):
    """The records of a partition that are compared: offsets `first` to `last`. `open`: what nobody has answered yet behind the
    last answer is not missing."""

    first: int
    last: int
    open: bool = False


class Verified(msgspec.Struct, frozen=True):
    """What was found in a partition. `records` of telemetry were run again; `counts` are those of `Comparison`, and `unanswered`:
    rows behind the last answer, where the span is open. `held`: the offset from which on the shard holds, which only an open
    store, or more of `parameters`, would release."""

    partition: int
    records: int
    counts: dict[str, int]
    first: Divergence | None
    held: int | None = None


class Verification:
    """One partition of one deployment. `take` what was emitted, ahead of `records`; then `finish`.

    - before: the state to start from, None: without any. lives: snapshots of later starts without state. forks: those of jobs that took
      over, as they went on, mute, from another's state.
    - begins: the first offset of epochs of which snapshots tell; of others the emitted frames do.
    - repeats_allowed: under at-least-once delivery. witness: sees each frame that is answered again.
    """

    def __init__(
        self,
        partition: int,
        assignment: Assignment,
        definitions: Recorded,
        pipelines: Pipelines,
        span: Span,
        *,
        before: Published | None = None,
        lives: Sequence[Published] = (),
        forks: Sequence[Published] = (),
        begins: Mapping[int, int] | None = None,
        repeats_allowed: bool = False,
        tolerances: Tolerances = lambda model, digest: EXACT,
        witness: Witness | None = None,
    ) -> None:
        self.span, self._witness = span, witness
        self.partition, self.assignment = partition, assignment
        self._definitions, self._pipelines = definitions, pipelines
        definitions.begin()
        self._whose = Origin(assignment.namespace, assignment.deployment, assignment.topic, partition)
        self._reader = Reader()
        self._comparison = Comparison(partition, self._reader, tolerances, repeats_allowed)
        self._reached = dict.fromkeys(COMPARED, -1)
        self._ended: set[Role] = set()
        self._answered = -1
        self._until = span.last
        self._told = dict(begins or {})
        self._seen: dict[int, int] = {}
        self._taken: list[Message] = []
        self._records = 0
        self._lives = sorted(lives, key=lambda one: one.about.offset)
        self._forks = sorted(forks, key=lambda one: one.about.offset)
        self._known_forks = {one.about.generation for one in forks}
        self._mute: list[Shard] = []
        self._shard = self._new(before)
        self.first_wanted = min([self._shard.last, *(fork.about.offset for fork in forks)]) + 1
        """The first offset that `records` must begin with, where there is a state to start from."""

    # -- the emitted side

    def behind(self, offset: int) -> Role | None:
        """Of which topic more must be taken before the records up to `offset` may come; None: of none."""
        waiting = {role: reached for role, reached in self._reached.items() if role not in self._ended}
        role = min(waiting, key=lambda role: waiting[role], default=None)
        return None if role is None or waiting[role] > offset + AHEAD else role

    def take(self, role: Role, value: bytes) -> None:
        """A message of one of the topics, in their order; those of other shards are passed over. Raises InvalidDefinition."""
        message = read_message(role, value)
        whose = origin(message)
        if whose != self._whose and whose != (Origin("", "", *self._whose[2:])):
            return
        self._reached[role] = max(self._reached[role], first_offset(message))
        self._remember(message)
        self._taken.append(message)
        if len(self._taken) >= TAKEN:
            self._pass_on()

    def end(self, role: Role) -> None:
        """There is no more in a topic."""
        self._ended.add(role)

    def settle(self) -> None:
        """Every topic has been read to its end, and telemetry too: what is answered by now is the end of an open span. Topics
        may then be taken on, since parts of one transaction are seen one after the other."""
        if self.span.open:
            self._until = max(self.span.first - 1, min(self._answered, self.span.last))
            self._ended.clear()

    def _pass_on(self) -> None:
        """Let the taken messages be compared."""
        self._comparison.emitted(self._within(self._reader.rows(self._taken)))
        self._taken = []

    def _remember(self, message: Message) -> None:
        """How far it is answered, and where each epoch began."""
        content = message.content
        if not isinstance(content, ScoresFrame):
            self._answered = max(self._answered, content.offset)
            return
        self._answered = max(self._answered, content.last)
        epoch = content.provenance.epoch
        self._seen[epoch] = min(self._seen.get(epoch, content.first), content.first)
        self._definitions.begun.add(epoch)

    # -- the computed side

    def records(self, raw: RawFrame) -> None:
        """The next records, of which `behind` wants no more."""
        for part in self._split(raw):
            self._renew(int(part.offsets[0]))
            self._fork(int(part.offsets[0]))
            self._arrive(int(part.offsets[0]))
            self._name(part.payloads[0])
            given_up = self._given_up(part.payloads[0])
            if given_up is not None:
                self._shard.aborted = max(self._shard.aborted, given_up)
                continue
            for shard in (self._shard, *self._mute):
                self._run(shard, part)
            self._succeed()
        self._records += int(((raw.offsets >= self.span.first) & (raw.offsets <= self.span.last)).sum())
        if self._comparison.pending >= BLOCK:
            self._pass_on()
            self._comparison.close(int(raw.offsets[-1]))

    def _run(self, shard: Shard, part: RawFrame) -> None:
        """What of the records comes after those that a shard knows."""
        self._gather(shard.on_frame(part.slice(int(np.searchsorted(part.offsets, shard.last, "right")), len(part))))
        for _ in range(PATIENCE + 1):  # a token that nobody known has signed is waited for so long
            if shard.holding:
                self._gather(shard.on_timer())

    def finish(self) -> Verified:
        """After the last records, and the end of every topic."""
        self._pass_on()
        unanswered = self._comparison.drop(self._until)
        self._comparison.close(self.span.last)
        counts = dict(self._comparison.counts) | {"unanswered": unanswered}
        held = self._shard.holding.frames
        return Verified(self.partition, self._records, counts, self._comparison.first, int(held[0].offsets[0]) if held else None)

    def memory(self, device: str) -> dict[str, dict[str, list[float]]]:
        """What is remembered of a device behind the last record."""
        tables = self._shard.tables
        return {} if tables is None else {schema: row for schema, table in tables.items() if (row := table.row(device))}

    def _gather(self, emissions: Sequence[Emission]) -> None:
        messages = [read_message(emission.role, emission.value) for emission in emissions if emission.role in COMPARED]
        self._comparison.computed(self._within(self._reader.rows(messages)))

    def _within(self, rows: Rows) -> Rows:
        if not len(rows):
            return NONE
        offsets = rows.table["offset"]
        inside = (offsets >= self.span.first) & (offsets <= self.span.last)
        return rows if inside.all() else rows.where(inside)

    def _split(self, raw: RawFrame) -> list[RawFrame]:
        """The records in runs, each of which begins where something happened that the records don't tell; aborted tokens alone."""
        at = [begin for begin in self._arrivals().values() if begin is not None]
        at += [one.about.offset + 1 for one in (*self._lives, *self._forks)]
        places = {int(place) for place in np.searchsorted(raw.offsets, at)}
        # No function for it: this looks at every record.
        for place in [place for place, payload in enumerate(raw.payloads) if payload and payload[0] == TOKEN]:
            payload = raw.payloads[place]
            if self._given_up(payload) is not None:
                places |= {place, place + 1}
            elif self._handover(payload):
                places.add(place)
        edges = [0, *sorted(places - {0, len(raw)}), len(raw)]
        return [raw.slice(start, stop) for start, stop in pairwise(edges)]

    def _arrivals(self) -> dict[int, int | None]:
        """Epochs that began at arrival, and their first offset here, None where there is none."""
        epochs = self._definitions.at_arrival(self.assignment.namespace, self.assignment.deployment)
        return {epoch: self._told.get(epoch, self._seen.get(epoch)) for epoch in epochs}

    def _arrive(self, offset: int) -> None:
        begun = {epoch for epoch, begin in self._arrivals().items() if begin is not None and begin <= offset}
        if not begun <= self._definitions.arrived:
            self._definitions.arrived |= begun
            self._shard.arrivals.look()

    def _given_up(self, payload: bytes | None) -> int | None:
        """The epoch of a token that was aborted here; a shard that knows all of `parameters` would not hold at it, and take it."""
        token = self._token(payload)
        if token is None or token.kind == PREPARE:
            return None
        return token.epoch if self._definitions.aborted(token.namespace, token.deployment, token.epoch) else None

    def _handover(self, payload: bytes | None) -> Token | None:
        """The token at which another job takes over, if this is one."""
        token = self._token(payload)
        return token if token is not None and token.kind == HANDOVER else None

    def _token(self, payload: bytes | None) -> Token | None:
        """A token of this shard's, signed by whom it may be."""
        if payload is None or not is_token(payload):
            return None
        with suppress(InvalidToken):
            token = Token.decode(payload)
            if (token.namespace, token.deployment, token.topic, token.partition) == self._whose:
                return token
        return None

    def _fork(self, offset: int) -> None:
        """Where a job went on from another's state, mute, so does a shard beside the one that answers."""
        while self._forks and self._forks[0].about.offset < offset:
            fork = self._forks.pop(0)
            self._mute.append(self._new(fork, fork.about.generation))

    def _name(self, payload: bytes | None) -> None:
        """Let the shard that answers be of the generation that a handover names, so that it retires there. Where nothing is known of the
        one that takes over it is taken for that, and the handover for a swap."""
        token = self._handover(payload)
        if token is None or self._shard.duty != "emit" or not self._shard.started or self._shard.holding:
            return
        generation = token.predecessor if token.generation in self._known_forks else token.generation
        if self._shard.generation != generation:
            self._shard = self._again(self._shard.snapshot(), generation)

    def _succeed(self) -> None:
        """Of a shard that has retired nothing is asked any more; the one that took over goes on."""
        for shard in self._mute:
            if shard.duty == "emit":
                self._shard = shard
        self._mute = [shard for shard in self._mute if shard.duty == "mute"]

    def _renew(self, offset: int) -> None:
        """Where the deployment started without state, so does the shard."""
        while self._lives and self._lives[0].about.offset < offset:
            self._shard = self._new(self._lives.pop(0))

    def _new(self, state: Published | None, generation: int | None = None) -> Shard:
        return self._again(state.state if state else None, self.assignment.generation if generation is None else generation)

    def _again(self, state: bytes | None, generation: int) -> Shard:
        """A shard of a job of this generation, from a state."""
        assignment = msgspec.structs.replace(self.assignment, generation=generation)
        shard = Shard(self.partition, assignment, self._definitions, self._pipelines)
        shard.scoring.witness = self._witness
        if state is not None:
            shard.restore(state)
        return shard
