"""A job over a world, as Flink would run it: workers, checkpoints, crashes, other parallelism, other frames on redelivery."""

from __future__ import annotations

from functools import cache
from random import Random

import msgspec

from swapstream.operators.assignment import Assignment
from swapstream.operators.definitions import Definitions
from swapstream.operators.outputs import Emission
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.shard import Shard
from tests.simulation.world import World, plans
from tests.support.shards import DEPLOYMENT, NAMESPACE, TOPIC, Parameters, Stored


@cache
def everything_loaded() -> Pipelines:
    """Loading is not what is simulated: every worker finds the pipelines that are loaded here."""
    parameters = Parameters()
    parameters.publish(*plans())
    pipelines = Pipelines(parameters.read(Definitions()), NAMESPACE)
    for plan in plans():
        pipelines.get(plan.digest)
    return pipelines


class Worker:
    """What the shards of one Python process share."""

    def __init__(self, world: World, position: int) -> None:
        self.definitions = world.parameters.read(Definitions(), position)
        self.pipelines = Pipelines(self.definitions, NAMESPACE)
        self.pipelines._loaded.update(everything_loaded()._loaded)


class Checkpoint(msgspec.Struct, frozen=True):
    """The state of all shards at one barrier, how far `parameters` was read, and how much output is committed with it."""

    position: int
    states: list[Stored]
    outputs: int


class Job:
    """One deployment. `outputs` are what a read_committed reader would see, `ledger` what was ever written there."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world, self.rng = world, rng
        self.outputs: list[tuple[int, Emission]] = []
        self.ledger: list[Emission] = []
        self.restarts: list[list[int]] = [[] for _ in world.logs]
        self._submit(world.submit_end, [0] * len(world.logs))

    def take(self, partition: int, size: int) -> bool:
        """The next frame of a shard, if there is one."""
        shard = self.shards[partition]
        raw = self.world.frame(partition, max(shard.head.last + 1, self.starts[partition]), size)
        if raw is not None:
            self._carry(partition, shard.on_frame(raw))
        return raw is not None

    def tick(self, partition: int) -> None:
        self._carry(partition, self.shards[partition].on_timer())

    def define(self, worker: Worker, count: int) -> None:
        """A worker reads some more of `parameters`."""
        end = min(self.world.parameters.end, worker.definitions.position + count)
        self.world.parameters.read(worker.definitions, end)

    def save(self) -> None:
        """A checkpoint; at its barrier every worker has read the same of `parameters`. What was gathered is what there is."""
        position = max(worker.definitions.position for worker in self.workers)
        for worker in self.workers:
            self.world.parameters.read(worker.definitions, position)
        self.checkpoint = Checkpoint(position, [state.copy() for state in self.states], len(self.outputs))
        partition = self.rng.randrange(len(self.shards))
        assert self._restored(partition, self.workers[0]).snapshot() == self.shards[partition].snapshot()

    def crash(self) -> None:
        """Everything since the checkpoint is lost and read again, by any number of workers."""
        del self.outputs[self.checkpoint.outputs :]
        self._deploy()

    def start_anew(self) -> None:
        """Cancelled at a checkpoint, and submitted again without state at the first record that was not answered."""
        self.save()
        starts = [
            int(shard.holding.frames[0].offsets[0]) if shard.holding else max(shard.head.last + 1, start)
            for shard, start in zip(self.shards, self.starts, strict=True)
        ]
        for partition, start in enumerate(starts):
            self.restarts[partition].append(start)
        self._submit(self.world.parameters.end, starts)

    def finish(self) -> None:
        """Read everything, answer everything."""
        for worker in self.workers:
            self.world.parameters.read(worker.definitions)
        for partition, shard in enumerate(self.shards):
            while self.take(partition, self.rng.randint(1, 20)):
                pass
            self.tick(partition)
            assert not shard.waiting

    def _submit(self, parameters_end: int, starts: list[int]) -> None:
        self.assignment = Assignment(NAMESPACE, DEPLOYMENT, TOPIC, self.world.first.digest, parameters_end)
        self.starts = starts
        self.checkpoint = Checkpoint(0, [Stored() for _ in starts], len(self.outputs))
        self._deploy()

    def _deploy(self) -> None:
        """Shards on one to three workers, from the checkpoint."""
        self.workers = [Worker(self.world, self.checkpoint.position) for _ in range(self.rng.randint(1, 3))]
        self.states = [state.copy() for state in self.checkpoint.states]
        self.shards = [self._restored(p, self.rng.choice(self.workers)) for p in range(len(self.states))]

    def _restored(self, partition: int, worker: Worker) -> Shard:
        shard = Shard(partition, self.assignment, worker.definitions, worker.pipelines)
        self.states[partition].restore(shard)
        return shard

    def _carry(self, partition: int, emissions: list[Emission]) -> None:
        self.states[partition].write(self.shards[partition].changes())
        self.ledger += [emission for emission in emissions if emission.role == "ledger"]
        self.outputs += [(partition, emission) for emission in emissions if emission.role != "ledger"]


def one_by_one(world: World, restarts: list[list[int]]) -> Job:
    """The same without any crash, each record a frame by itself and all of `parameters` read before; where a job started
    anew it starts anew as well, since that is where state is lost."""
    job = Job(world, Random(0))
    for worker in job.workers:
        world.parameters.read(worker.definitions)
    for partition, log in enumerate(world.logs):
        places = list(restarts[partition])
        for entry in log:
            while places and places[0] <= entry.offset:
                places.pop(0)
                job.assignment = msgspec.structs.replace(job.assignment, parameters_end=world.parameters.end)
                job.shards[partition] = Shard(partition, job.assignment, job.workers[0].definitions, job.workers[0].pipelines)
                job.starts[partition] = entry.offset
            job.take(partition, 1)
    return job
