"""The shard: one partition's state machine. Pure: no Flink, no clock, no I/O; time and control come in, emissions go out.

starting ──(parameters read to the end seen at submit)──> running ──(token whose plan is there)──> running, next epoch
   │ holds its input                                        │  └──(token that can't be judged yet)──> holding ──> running
                                                            └──(a cut at arrival)──> running, next epoch

Running it does its duty: it answers, or is mute until a handover token, or has retired at one (duty.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition, OutOfOrder
from swapstream.operators.arriving import Arrivals
from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.duty import Duty
from swapstream.operators.entrance import entrance, forked
from swapstream.operators.frame import RawFrame
from swapstream.operators.holding import Holding
from swapstream.operators.judging import PATIENCE, Judge, Standing, Verdict
from swapstream.operators.outputs import Emission, dead
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.preparing import Preparing
from swapstream.operators.readers import Bad
from swapstream.operators.reporting import Reporter
from swapstream.operators.run import Run
from swapstream.operators.scoring import Scoring
from swapstream.operators.shard_state import Change, Head, Pending, Snapshot, decode_head
from swapstream.operators.snapshots import Snapshots, Why
from swapstream.operators.starting import Beginning, released
from swapstream.operators.tables import Tables, entries_of
from swapstream.operators.token import FIRST_BYTE, UPDATE
from swapstream.operators.wire import read

TOKEN = FIRST_BYTE[0]
NOBODY = Run()
ANSWERS = {"take": "prepared", "refuse": "refused", "reject": "rejected"}


class Shard:
    """One partition of one deployment."""

    def __init__(
        self, partition: int, assignment: Assignment, definitions: Definitions, pipelines: Pipelines, run: Run = NOBODY
    ) -> None:
        self.partition = partition
        self.assignment = assignment
        self.definitions = definitions
        self.pipelines = pipelines
        self.run = run
        self.generation = assignment.generation
        self.duty: Duty = "emit"
        self.started = False
        self.last = -1
        self.carried = b""
        self.floor = -1
        self.aborted = 0
        self.holding = Holding()
        self.scoring = Scoring(partition, assignment)
        self.judge = Judge(partition, assignment, definitions, pipelines, run.blocking)
        self.preparing = Preparing(self.judge, run)
        self.arrivals = Arrivals(assignment, definitions, self.judge)
        self.reporter = Reporter(partition, assignment, run, self.scoring)
        whose = (assignment.namespace, assignment.deployment, assignment.topic, partition)
        self.snapshots = Snapshots(*whose, assignment.snapshot_every_ms, assignment.generation)
        self._everything = False
        self._retired_here = False

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
        said: list[Emission] = []
        if self.holding or not self._ready(raw, said):
            return [*said, *self._hold(raw)]
        return [*said, *self._remind(raw), *self._arrive(raw), *self._consume(raw)]

    def on_timer(self) -> list[Emission]:
        """`definitions` may tell more than it did: answer what is asked, and go on with what is held, as far as that goes. How often it is
        called decides only what can't be waited for."""
        self.holding.ticks += 1
        self.preparing.tick()
        return [*self._answer(), *self._go_on()]

    # -- state

    @property
    def head(self) -> Head:
        """The small part of the state."""
        return Head(
            self.started,
            self.scoring.epoch,
            self.scoring.digest,
            self.last,
            self.scoring.chains,
            self.reporter.prev,
            self.carried,
            tuple(self.preparing.pending),
            self.floor,
            self.aborted,
            generation=self.generation,
            duty=self.duty,
        )

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
        self.restore_parts(found.head, entries_of(found.tables), found.held)
        self._everything = True

    def restore_parts(self, head: bytes, table: Mapping[str, bytes], held: list[bytes]) -> None:
        """Take over what `changes` gave over time: the last head, and the entries and held frames that are there.

        What another job wrote is gone on from, or (with an upgrade) migrated when the next record comes. Raises InvalidDefinition.
        """
        found = self._decoded(head)
        fork = forked(found, self.assignment)
        self.started, self.last, self.carried, self.aborted = found.started, found.last, found.carried, found.aborted
        self.floor = self.assignment.parameters_end if found.started and found.floor < 0 else found.floor
        if found.generation == self.generation:
            self.duty = found.duty
            self.reporter.restore(found.ledger)
        if fork:
            self.generation, self.duty = found.generation, found.duty
            self.scoring.fork(self.pipelines.outline(found.plan), found.plan, found.epoch, found.chains, table)
        elif found.started:
            self.preparing.restore(found.preparing)
            self.scoring.restore(self.pipelines.get(found.plan), found.epoch, found.chains, table)
        self.holding.restore(held, found.started and not fork and not self._unreleased, self.run.now())

    @property
    def waiting(self) -> bool:
        """Whether a timer should come back to look for what is missing."""
        return bool(self.holding) or bool(self.preparing)

    # -- beginning a plan

    def _ready(self, raw: RawFrame, said: list[Emission]) -> bool:
        """Whether these records can be taken up, and not held; what happened for that goes to `said`."""
        if not self._entered(raw, said):
            return False
        if not self._unreleased:
            return True
        if released(self.assignment, self.definitions):
            said += self._arrive(raw)
        return not self._unreleased

    def _entered(self, raw: RawFrame, said: list[Emission]) -> bool:
        """Begin under this job, without state or from another's, at the first of these records; false while that can't be."""
        if self.duty == "retired" or (self.started and self.generation == self.assignment.generation):
            return True
        offset, time = int(raw.offsets[0]), int(raw.timestamps[0])
        found = entrance(offset, self.partition, self.head, self.assignment, self.definitions, self.judge)
        if found is None or not self._inherit():
            return False
        self.duty, self.generation = found.duty, self.assignment.generation
        if found.beginning:
            self.started, self.floor = True, max(self.floor, self.assignment.parameters_end)
            self._begin(found.beginning)
            if found.snapshot:
                self._publish(found.snapshot, offset - 1, raw, 0)
            if found.event:
                said.append(self.reporter.entered(found.event, offset - 1, time))
        return True

    def _inherit(self) -> bool:
        """Have the state of devices that this shard is to begin with; false while the store does not give it."""
        given = self.assignment.inherited.get(self.partition)
        if given is None or self.started:
            return True
        state = self.pipelines.inherited(given)
        if state is None:
            return False
        found = read(state, Snapshot, InvalidDefinition, "a shard's snapshot")
        head = self._decoded(found.head)
        self.scoring.fork(self.pipelines.outline(head.plan), head.plan, 0, {}, entries_of(found.tables))
        return True

    def _decoded(self, head: bytes) -> Head:
        """With the plan that it carries, if one, at hand."""
        found = decode_head(head, lambda plan: next(iter(self.pipelines.outline(plan).schemas)))
        if found.carried:
            self.pipelines.carry(found.carried)
        return found

    @property
    def _unreleased(self) -> bool:
        """Whether all input is held for an upgrade that has not been told to begin."""
        upgrade = self.assignment.upgrade
        if upgrade is None or upgrade.mode != "savepoint" or self.duty != "emit":
            return False
        return self.scoring.epoch < upgrade.epoch

    def _arrive(self, raw: RawFrame) -> list[Emission]:
        """Follow the newest cut at arrival; the first record of this frame is its first."""
        emissions: list[Emission] = []
        if self.duty != "emit":
            return emissions
        while found := self.arrivals.due(max(self.scoring.epoch, self.aborted)):
            since, one = self.run.now(), found.beginning
            offset, time = int(raw.offsets[0]), int(raw.timestamps[0])
            if found.reason:
                emissions.append(self.reporter.arrived("rejected", one, offset, time, reason=found.reason))
                continue
            self._begin(one)
            self._publish("arrival" if one.update else "cut", offset - 1, raw, 0)
            emissions.append(self.reporter.arrived("activated", one, offset, time, took_ms=self.run.took_ms(since)))
        return emissions

    def _begin(self, one: Beginning) -> None:
        """Go on under another plan."""
        self.scoring.activate(self.pipelines.get(one.plan), one.epoch)
        self.carried = one.update

    def _publish(self, why: Why, offset: int, raw: RawFrame, index: int) -> None:
        """A snapshot of the state right behind the record at `offset`, at the log time of a record of this frame."""
        assert self.tables is not None
        if why == "arrival":
            self.snapshots.arrived(self.head, offset, int(raw.timestamps[index]))
        else:
            self.snapshots.began(why, self.head, self.tables, offset, int(raw.timestamps[index]))

    # -- records

    def _consume(self, raw: RawFrame, start: int = 0) -> list[Emission]:
        """Records from `start` on, up to the first token that can't be judged yet; from there on they are held."""
        emissions: list[Emission] = []
        # No function for it: this looks at every record, and a call costs more than the decoding.
        for index in [i for i, payload in enumerate(raw.payloads) if payload and payload[0] == TOKEN and i >= start]:
            emissions += self._pass(raw, start, index)
            start = index + 1
            since = self.run.now()
            verdict = self._judged(raw, index)
            if verdict.action == "hold":
                self.holding.stop_at(raw.slice(index, len(raw)), since)
                return [*emissions, self._row("holding", verdict, raw, index)]
            emissions += self._act(verdict, raw, index, since)
        emissions += self._pass(raw, start, len(raw))
        return emissions + self._published(int(raw.offsets[-1]), int(raw.timestamps[-1]))

    def _pass(self, raw: RawFrame, start: int, stop: int) -> list[Emission]:
        """The records from start to stop (exclusive), none of which is a token, by duty."""
        if self.duty == "emit":
            first, last = self._wanted(raw, start, stop)
            if first > start:
                self.scoring.follow(raw, start, first)
            return self.scoring.score(raw, first, last)
        if self.duty == "mute":
            self.scoring.follow(raw, start, stop)
        return []

    def _wanted(self, raw: RawFrame, start: int, stop: int) -> tuple[int, int]:
        """Which of the records from start to stop (exclusive) are to be answered."""
        span = self.assignment.spans.get(self.partition)
        if span is None:
            return start, stop
        first, last = np.searchsorted(raw.offsets, [span[0], span[1] + 1]).tolist()
        return min(max(first, start), stop), max(min(last, stop), start)

    def _published(self, offset: int, time: int) -> list[Emission]:
        """Of snapshots what goes out with a frame that ends with this record; ones behind it may be held."""
        if self.duty == "emit" and self.tables is not None:
            return self.snapshots.sent(self.head, self.tables, offset, time)
        return self.snapshots.rest() if self.duty == "mute" else []

    def _judged(self, raw: RawFrame, index: int) -> Verdict:
        """What to do with the token that is this record."""
        payload, offset = raw.payloads[index], int(raw.offsets[index])
        assert payload is not None
        held = self.holding.token == offset
        return self.judge.judge(payload, offset, self._standing(held, not held or self.holding.ticks < PATIENCE))

    def _standing(self, held: bool = False, patient: bool = True) -> Standing:
        return Standing(max(self.scoring.epoch, self.aborted), self.floor, held, patient, self.scoring.digest, self.duty)

    def _act(self, verdict: Verdict, raw: RawFrame, index: int, since: float) -> list[Emission]:
        """Do what was judged of a token that has been waited at since a time of the run's."""
        token, offset = verdict.token, int(raw.offsets[index])
        if token is None:
            bad = [Bad(index, None, "token", verdict.reason or "")] if self.duty == "emit" else []
            return list(dead(self.assignment, raw, bad))
        if verdict.action == "skip":
            return []
        if verdict.action == "prepare":
            payload = raw.payloads[index]
            assert payload is not None
            self.preparing.add(Pending(payload, offset, int(raw.timestamps[index])))
            return self._answer()
        if verdict.action == "abort":
            self.aborted = token.epoch
            return [self._row("aborted", verdict, raw, index, took_ms=self.run.took_ms(since))]
        if verdict.action == "reject":
            return [self._row("rejected", verdict, raw, index)]
        if verdict.action == "retire":
            self.duty, self._retired_here = "retired", True
            self.preparing.restore(())
            return [self._row("retired", verdict, raw, index, took_ms=self.run.took_ms(since))]
        update = token.body if token.kind == UPDATE else b""
        how = "update" if update else "token" if self.duty == "emit" else "handover"
        self.duty, self.floor = "emit", max(self.floor, token.parameters_end)
        self._begin(Beginning(token.epoch, token.plan, update))
        if not update:  # these may come ten a second, and tell all that is needed to run them again
            self._publish("cut", offset, raw, index)
        return [self._row("activated", verdict, raw, index, how=how, took_ms=self.run.took_ms(since))]

    def _remind(self, raw: RawFrame) -> list[Emission]:
        """A retired shard that was brought back says so once more: whoever waits for the end of this job must know that of what runs."""
        if self.duty != "retired" or self._retired_here:
            return []
        self._retired_here = True
        return [self.reporter.still_retired(int(raw.offsets[0]) - 1, int(raw.timestamps[0]))]

    # -- holding and answering

    def _hold(self, raw: RawFrame) -> list[Emission]:
        self.holding.add(raw)
        if self.holding.size > self.assignment.max_held:
            raise OutOfOrder(
                f"{self.assignment.topic}-{self.partition}: holds {self.holding.size} bytes, more than "
                f"{self.assignment.max_held}; `parameters` has been read to {self.definitions.position}"
            )
        return []

    def _go_on(self) -> list[Emission]:
        """Take up what is held, until it must be held again."""
        emissions: list[Emission] = []
        while self.holding and self._ready(self.holding.frames[0], emissions):
            emissions += self._arrive(self.holding.frames[0])
            if self.holding.token is None:
                emissions += self._consume(self.holding.take())
                continue
            verdict = self._judged(self.holding.frames[0], 0)
            if verdict.action == "hold":
                break
            emissions += self._release(verdict)
        return emissions

    def _release(self, verdict: Verdict) -> list[Emission]:
        """Go on behind the token at which the shard has been holding."""
        since, size = self.holding.since, self.holding.size
        raw = self.holding.take()
        emissions = self._act(verdict, raw, 0, since)
        emissions.append(self._row("released", verdict, raw, 0, held=size, took_ms=self.run.took_ms(since)))
        return emissions + self._consume(raw, 1)

    def _answer(self) -> list[Emission]:
        """What is known by now of the plans that prepare tokens ask for."""
        return [
            self.reporter.judged(ANSWERS[(found := self._tried(verdict)).action], found, one.offset, one.time, took_ms=took_ms)
            for one, verdict, took_ms in self.preparing.answers(self._standing())
        ]

    def _tried(self, verdict: Verdict) -> Verdict:
        """A plan that devices' state can't go on under is refused while that costs nothing."""
        if verdict.action != "take" or verdict.token is None:
            return verdict
        reason = self.scoring.unfit(self.pipelines.get(verdict.token.plan))
        return msgspec.structs.replace(verdict, action="refuse", reason=reason) if reason else verdict

    def _row(self, event: str, verdict: Verdict, raw: RawFrame, index: int, **told: object) -> Emission:
        """A row about the token that is this record."""
        return self.reporter.judged(event, verdict, int(raw.offsets[index]), int(raw.timestamps[index]), **told)
