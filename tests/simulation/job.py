"""A job over a world, as Flink would run it: workers, checkpoints, crashes, other parallelism, other frames on redelivery."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import msgspec

from swapstream.models.errors import OutOfOrder
from swapstream.operators.assignment import Assignment
from swapstream.operators.frame import RawFrame
from swapstream.operators.judging import PATIENCE
from swapstream.operators.outputs import Emission
from swapstream.operators.run import Run
from swapstream.operators.shard import Shard
from tests.simulation.worker import Horizon, Worker
from tests.simulation.world import Deployment, World
from tests.support.shards import NAMESPACE, TOPIC, Stored

ROOM, LITTLE_ROOM = 2**20, 400
"""Bytes that a shard may hold."""
ENOUGH = 100
"""Rounds after which something must have come to an end."""


class Submitted(NamedTuple):
    """A start without state: the first record of each partition that is wanted, the end of `parameters` seen then, and how much had been
    said before; and the records of `parameters` that had been `gone` by then."""

    starts: tuple[int, ...]
    end: int
    said: int
    gone: frozenset[int] = frozenset()


class Said(NamedTuple):
    """What a shard sent, how far its worker had read `parameters` then, and which plans that had loaded before, if the shard followed
    what arrives; and when the job was submitted."""

    partition: int
    emission: Emission
    position: int
    loaded: frozenset[str]
    submitted: Submitted


class Checkpoint(msgspec.Struct, frozen=True):
    """The state of all shards at one barrier, how far `parameters` was read, and how much output is committed with it."""

    position: int
    states: list[Stored]
    said: int


class Job:
    """One deployment's, alone. `said` is what a read_committed reader sees, and rows of the ledger beside it; `ledger` all that was ever
    written there; `submitted` each start without state, `overflows` how often there was not room enough to hold.

    It knows what there is at the horizon. `savepoint`: of another job, from which it begins; `told`: more of its assignment."""

    def __init__(
        self, world: World, whose: Deployment, rng: Random, kind: type[Shard] = Shard, room: int = ROOM, horizon: Horizon | None = None,
        savepoint: Checkpoint | None = None, **told: Any,
    ) -> None:  # fmt: skip
        self.world, self.whose, self.rng, self.kind, self.room, self.told = world, whose, rng, kind, room, told
        self.horizon = horizon or Horizon(world.end)
        self.said: list[Said] = []
        self.ledger: list[Emission] = []
        self.submitted: list[Submitted] = []
        self.away: set[str] = set()
        self.overflows = 0
        last = min(world.parameters.end, self.horizon.now.parameters)
        end = last if savepoint else rng.choice((world.submit_end, rng.randint(world.submit_end, last)))
        self._submit(Submitted((0,) * len(world.logs), end, 0), savepoint)

    # -- what can happen

    def take(self, partition: int, size: int) -> bool:
        """The next frame of a shard, if there is one. A shard that would hold too much fails, and the job with it."""
        shard = self.shards[partition]
        start = max(shard.last + 1, self.submitted[-1].starts[partition])
        raw = self.world.frame(partition, start, size, self.horizon.now.ends[partition])
        if raw is not None:
            try:
                self._call(partition, raw)
            except OutOfOrder:
                assert held(shard) > self.room, "it had room"
                self.overflows += 1
                self.crash()
        return raw is not None

    def tick(self, partition: int, times: int = 1) -> None:
        """The timer calls; a shard that knows all there is to know must not hold any longer (C4)."""
        shard = self.shards[partition]
        for _ in range(times):
            self._call(partition)
            if not shard.waiting:
                break
        assert not shard.holding or self.lacks(self.homes[partition]), f"shard {partition} holds for no reason"

    def lacks(self, worker: Worker) -> bool:
        """Whether there is anything that a shard of this worker may have to wait for."""
        unread = worker.definitions.position < worker.end
        return unread or not worker.pipelines.idle or self.whose.forged

    def read(self, partition: int, count: int) -> None:
        """A worker reads some more of `parameters`."""
        self.homes[partition].read(count)

    def load(self, partition: int) -> None:
        """A worker's thread is done with what it was asked for."""
        self.homes[partition].pipelines.load()

    def outage(self) -> None:
        """The store goes away, or comes back."""
        if self.away:
            self.away.clear()
        else:
            self.away.update(self.world.referred)

    def save(self) -> None:
        """A checkpoint."""
        self.checkpoint = self.saved()

    def saved(self) -> Checkpoint:
        """At its barrier every worker has read the same of `parameters`. What was gathered is what there is."""
        position = max(worker.definitions.position for worker in self.homes)
        for worker in self.homes:
            worker.read(position - worker.definitions.position)
        partition = self.rng.randrange(len(self.shards))
        assert self._restored(partition, self.homes[partition]).snapshot() == self.shards[partition].snapshot()
        return Checkpoint(position, [state.copy() for state in self.states], len(self.said))

    def crash(self) -> None:
        """Everything since the checkpoint is lost and read again, by any number of workers."""
        del self.said[self.checkpoint.said :]
        self._deploy()

    def start_anew(self) -> None:
        """Cancelled at a checkpoint, and submitted again without state at the first record that was not answered. Whoever submits
        sees at least the cut maps of the tokens before."""
        self.save()
        starts = tuple(
            int(shard.holding.frames[0].offsets[0]) if shard.holding else max(shard.last + 1, start)
            for shard, start in zip(self.shards, self.submitted[-1].starts, strict=True)
        )
        cuts = [one.at + 1 for one in self.whose.begun.values() if one.offsets and any(one.offsets[p] < at for p, at in enumerate(starts))]
        end = self.rng.randint(max(self.checkpoint.position, self.submitted[-1].end, *cuts, 0), self.world.parameters.end)
        gone = self.world.compacted(end) if self.rng.random() < 0.5 else frozenset()
        self._submit(Submitted(starts, end, len(self.said), gone))

    def finish(self) -> None:
        """Read everything, load everything, answer everything: restarted with enough room for any frame, and on the way again."""
        self.room = ROOM
        self.assignment = msgspec.structs.replace(self.assignment, max_held=ROOM)
        self.crash()
        for _ in range(ENOUGH):
            for partition in range(len(self.shards)):
                self.homes[partition].read_all()
                self.settle(partition)
            if chance := self.rng.choice((self.save, self.crash, None, None)):
                chance()
            taken = [self.take(partition, self.rng.randint(1, 20)) for partition in range(len(self.shards))]
            if not any(taken) and not any(shard.waiting for shard in self.shards):
                return
        raise AssertionError("it never comes to an end")

    def settle(self, partition: int) -> None:
        """Long enough for everything, in a worker that has read what it needs."""
        for _ in range(ENOUGH):
            self.tick(partition)
            if not self.shards[partition].waiting:
                return
            if self.homes[partition].pipelines.idle:
                self.tick(partition, PATIENCE)
            self.load(partition)
        raise AssertionError(f"shard {partition} waits for ever")

    def handed_over(self, epoch: int) -> bool:
        """Whether its shards changed jobs at the tokens of an epoch, whatever they were in."""
        return False

    # -- how it runs

    def _submit(self, submitted: Submitted, savepoint: Checkpoint | None = None) -> None:
        self.submitted.append(submitted)
        whose = self.whose
        self.assignment = Assignment(NAMESPACE, whose.name, TOPIC, whose.first.digest, submitted.end, max_held=self.room, **self.told)
        self.checkpoint = savepoint or Checkpoint(0, [Stored() for _ in submitted.starts], len(self.said))
        self._deploy()

    def _deploy(self) -> None:
        """Shards on one to three workers, from the checkpoint. What they need of the store they get: a restart outlasts its outage."""
        self.away.clear()
        gone = self.submitted[-1].gone
        workers = [Worker(self.world, self.horizon, self.checkpoint.position, self.away, gone) for _ in range(self.rng.randint(1, 3))]
        self.states = [state.copy() for state in self.checkpoint.states]
        self.homes = [self.rng.choice(workers) for _ in self.states]
        self.shards = [self._restored(partition, worker) for partition, worker in enumerate(self.homes)]

    def _restored(self, partition: int, worker: Worker) -> Shard:
        shard = self.kind(partition, self.assignment, worker.definitions, worker.pipelines, Run(blocking=False))  # type: ignore[arg-type]
        self.states[partition].restore(shard)
        return shard

    def _call(self, partition: int, raw: RawFrame | None = None) -> None:
        """A frame, or the timer; what changed is written, what is sent is noted."""
        shard, worker = self.shards[partition], self.homes[partition]
        loaded = frozenset(worker.pipelines.loaded if follows(shard) else ())
        emissions = shard.on_timer() if raw is None else shard.on_frame(raw)
        assert raw is None or held(shard) <= self.room + bytes_of(raw), f"shard {partition} holds {held(shard)} bytes"
        self.states[partition].write(shard.changes())
        position, submitted = worker.definitions.position, self.submitted[-1]
        self.said += [Said(partition, emission, position, loaded, submitted) for emission in emissions]
        self.ledger += [emission for emission in emissions if emission.role == "ledger"]


def follows(shard: Shard) -> bool:
    """Whether it follows what arrives: not while it is mute, or will be with its first record."""
    entered = shard.started or shard.assignment.upgrade is None
    return entered and shard.duty == "emit" and shard.generation == shard.assignment.generation


def held(shard: Shard) -> int:
    return sum(bytes_of(raw) for raw in shard.holding.frames)


def bytes_of(raw: RawFrame) -> int:
    return sum(len(payload or b"") for payload in raw.payloads)


def one_by_one(job: Job) -> Job:
    """The same without any crash, each record a frame by itself and all of `parameters` read before; where a job started
    anew it starts anew as well, since that is where state is lost."""
    calm = Job(job.world, job.whose, Random(0))
    calm.submitted.clear()
    for number, submitted in enumerate(job.submitted):
        calm._submit(submitted)
        ends = job.submitted[number + 1].starts if number + 1 < len(job.submitted) else (10**9,) * len(submitted.starts)
        for partition, end in enumerate(ends):
            calm.homes[partition].read_all()
            for entry in job.world.logs[partition]:
                if submitted.starts[partition] <= entry.offset < end:
                    calm.take(partition, 1)
                    calm.settle(partition)
    return calm
