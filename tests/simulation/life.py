"""One seed: a world, the jobs of its deployments, and what must be true of each in the end."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from unittest.mock import patch

from swapstream.operators import envelope, signing
from swapstream.operators.shard import Shard
from tests.simulation.job import LITTLE_ROOM, ROOM, Job, one_by_one
from tests.simulation.observed import Life, Observed, done
from tests.simulation.oracle import check_alarms, check_held, check_prepared, expected
from tests.simulation.relay import Relay
from tests.simulation.world import World

checked_once = lru_cache(10_000)(signing.verify)
"""Every worker checks every signature, which takes most of the time here: one look at each is enough."""
RELAYED = 0.8
"""Of the deployments with handovers so many live through them."""
TWICE = 4
"""Of so many seeds one is also run record by record, and all bits are compared (C6)."""


def replay(seed: int) -> str:
    """The command that runs a seed again."""
    return f".venv/bin/python -m tests.simulation --seeds {seed}"


@patch.object(envelope, "verify", checked_once)
def live_through(seed: int, kind: type[Shard] = Shard) -> list[Life]:
    """What was lived through. Raises whatever goes wrong."""
    rng = Random(seed)
    world, lives = World(rng), []
    for whose in world.deployments:
        room = rng.choice((LITTLE_ROOM, ROOM, ROOM, ROOM))
        handing = whose.handovers and rng.random() < RELAYED
        life = relay(Relay(world, whose, rng, kind, room)) if handing else alone(Job(world, whose, rng, kind, room))
        check(life)
        if seed % TWICE == 0 and whose.settled_by_logs and isinstance(life, Job):
            compare(life, one_by_one(life))
        lives.append(life)
    return lives


def alone(job: Job) -> Job:
    """Others' handovers are swaps to it."""
    for _ in range(job.rng.randint(6, 30)):
        event(job, job.rng)
    job.finish()
    return job


def relay(jobs: Relay) -> Relay:
    jobs.run(lambda job: event(job, job.rng))
    return jobs


def event(job: Job, rng: Random) -> None:
    """One thing that can happen to a job."""
    partition, chance = rng.randrange(len(job.shards)), rng.random()
    if chance < 0.42:
        job.take(partition, rng.choice((1, 2, 5, 20)))
    elif chance < 0.6:
        job.read(partition, rng.randint(1, 8))
    elif chance < 0.7:
        job.load(partition)
    elif chance < 0.8:
        job.tick(partition)
    elif chance < 0.83:
        job.outage()
    elif chance < 0.91:
        job.save()
    elif chance < 0.98 or job.told:
        job.crash()
    else:
        job.start_anew()


def check(job: Life) -> None:
    """C1, C4 and C5."""
    seen = Observed(job)
    found, wanted = seen.ends(), expected(job, seen)
    wrong = sorted(found.items() ^ wanted.items(), key=lambda one: [-1 if part is None else part for part in one[0]])
    assert not wrong, f"{job.whose.name} at {wrong[0][0]}: {found.get(wrong[0][0])} and not {wanted.get(wrong[0][0])}"
    check_held(job, seen)
    check_alarms(job)
    check_prepared(job, seen)


def compare(job: Job, calm: Job) -> None:
    """Neither frames nor crashes change a bit, nor what is said of tokens."""
    assert Observed(job).rows == Observed(calm).rows
    assert done(job) == done(calm)
