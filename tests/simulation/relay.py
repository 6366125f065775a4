"""A deployment whose jobs hand over to one another: each next one (green) begins from the state of the one that answers (blue)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from random import Random
from typing import Any

import msgspec

from swapstream.operators.assignment import Upgrade
from swapstream.operators.outputs import Emission
from swapstream.operators.shard import Shard
from tests.simulation.job import ROOM, Job, Said, Submitted
from tests.simulation.worker import Horizon
from tests.simulation.world import Deployment, Handover, Moment, World

Live = Callable[[Job], None]
"""Lets something happen to a job."""


class Relay:
    """What its jobs are together, as one would be; `jobs`: those that answered, in order, `given_up`: greens that never did."""

    def __init__(self, world: World, whose: Deployment, rng: Random, kind: type[Shard] = Shard, room: int = ROOM) -> None:
        self.world, self.whose, self.rng, self.kind, self.room = world, whose, rng, kind, room
        self.horizon = Horizon(world.end)
        self.given_up: list[Job] = []
        self.jobs: list[Job] = []

    def run(self, live: Live) -> None:
        """All of it. Nobody knows of what comes later than the step of the handover that is under way."""
        handovers = self.whose.handovers
        self.horizon = Horizon(handovers[0].asked)
        blue = self._job(generation=1, partitions=len(self.world.logs))
        self.jobs.append(blue)
        self._pass(live, blue)
        for one, later in zip_longest(handovers, handovers[1:]):
            blue = self._hand_over(one, later.asked if later else self.world.end, live, blue)
        blue.finish()

    def _hand_over(self, one: Handover, then: Moment, live: Live, blue: Job) -> Job:
        """Returns the job that answers at the moment after it; the other has ended."""
        green = self._green(one, blue)
        self.horizon.now = one.ready
        self._pass(live, blue, green)
        self.horizon.now = then
        if one.given_up:
            assert {said.emission.role for said in green.said} <= {"ledger"}
            self.given_up.append(green)
            self._pass(live, blue)
            return blue
        self.jobs.append(green)
        self._pass(live, blue, green)
        blue.finish()
        return green

    def _green(self, one: Handover, blue: Job) -> Job:
        """From a savepoint, to which blue itself does not come back."""
        saved = msgspec.structs.replace(blue.saved(), said=0)
        told = {"generation": one.generation, "upgrade": Upgrade("handover", one.plan.digest, one.epoch)}
        return self._job(savepoint=saved, partitions=len(self.world.logs), **told)

    def _job(self, **told: Any) -> Job:
        return Job(self.world, self.whose, self.rng, self.kind, self.room, self.horizon, **told)

    def _pass(self, live: Live, *jobs: Job) -> None:
        for _ in range(self.rng.randint(2, 12) * len(jobs)):
            live(self.rng.choice(jobs))

    # -- as a job

    @property
    def said(self) -> list[Said]:
        return [said for job in self.jobs for said in job.said]

    @property
    def ledger(self) -> list[Emission]:
        return [row for job in (*self.jobs, *self.given_up) for row in job.ledger]

    @property
    def submitted(self) -> list[Submitted]:
        """Only the first job started without state."""
        return self.jobs[0].submitted

    @property
    def overflows(self) -> int:
        return sum(job.overflows for job in self.jobs)

    def handed_over(self, epoch: int) -> bool:
        """As of a job."""
        return any(one.epoch == epoch and not one.given_up for one in self.whose.handovers)
