"""The ways to change a plan that `swaps` compares, each on the same job while readings flow, and what came of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchmarks import cuts, measure, versions
from benchmarks.arena import Arena
from benchmarks.changing import Swap, Target, swap_all
from benchmarks.cluster import RIVAL
from benchmarks.cuts import Change, Count
from benchmarks.feeder import Feeder
from benchmarks.listener import Heard, Listener
from benchmarks.measure import Offsets
from benchmarks.polling import poll
from benchmarks.restarting import Restart, restart
from swapstream.models.errors import ClusterError
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment

NAME = "swaps"
DEVICES = 1_000
LONG_S = 36_000
STEADY_S = 5.0
"""Before the first restart and after each."""
PATIENCE_S = 600.0


class Size(msgspec.Struct, frozen=True):
    """How much of everything; see the command's options."""

    swaps: int
    rate: int
    every: float
    warm_up: int
    model_mb: int
    fresh: int
    readings: int
    rounds: int
    at_once: int
    restarts: int
    polls: int


class Way(msgspec.Struct, frozen=True):
    """One way to make the change: `count` by the offsets at which changes are said to have taken place, `surprised` the records of another
    version than was announced; `seen`, ms from each announcement until every partition had output of the new version; `pause`, the
    longest time in ms without output of a partition."""

    name: str
    changes: int
    count: Count
    surprised: int
    seen: list[float]
    pause: float
    guaranteed: bool = True

    @property
    def wrong(self) -> int:
        return self.count.other + self.count.lost + self.count.twice


class Stage(msgspec.Struct, frozen=True):
    """A running job: the plan with a small model, which it was submitted with, and those with a large one."""

    arena: Arena
    size: Size
    small: Target
    larges: list[Target]

    @property
    def environment(self) -> Environment:
        return self.arena.environment

    def targets(self) -> list[Target]:
        """The large model and the small one in turn; from time to time the large one is a new version."""
        half = -(-self.size.swaps // 2)
        return [self.small if number % 2 else self.larges[number // 2 * len(self.larges) // half] for number in range(self.size.swaps)]

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Readings come meanwhile. Raises ClusterError, ChildProcessError when they stopped."""
        with Feeder(self.environment, DEVICES, self.size.rate * LONG_S, self.size.rate) as feeder:
            yield
            if feeder.fed:
                raise ClusterError(f"the feeder ended after {self.size.rate * LONG_S} readings")


def swapped(stage: Stage) -> tuple[list[Swap], Heard, Way]:
    """Barrier swaps while readings flow, and a listener beside them."""
    environment, (telemetry, scores) = stage.environment, ends(stage.environment)
    with stage.flowing(), Listener(environment, scores, stage.arena.directory / "heard.npz") as listener:
        time.sleep(stage.size.warm_up)
        swaps = swap_all(environment, NAME, stage.targets(), stage.size.every, stage.small)
        heard = listener.heard()
    complete(environment, scores)
    plans = {0: stage.small.plan.digest, **{swap.epoch: swap.plan for swap in swaps}}
    changes = [Change(swap.epoch, swap.committed, swap.offsets) for swap in swaps]
    return swaps, heard, way("barrier swap", environment, (telemetry, scores), changes, changes, plans)


def restarted(stage: Stage, swaps: list[Swap]) -> Way:
    """Stop-with-savepoint and restart, back and forth, while readings flow."""
    environment, (telemetry, scores) = stage.environment, ends(stage.environment)
    small_is_next = swaps[-1].plan != stage.small.plan.digest
    done: list[Restart] = []
    with stage.flowing():
        time.sleep(STEADY_S)
        for number in range(stage.size.restarts):
            done.append(restart(environment, NAME, stage.small if (number % 2 == 0) == small_is_next else stage.larges[-1]))
            say(f"restarted in {done[-1].seconds:.1f} s")
            time.sleep(STEADY_S)
    complete(environment, scores)
    plans = {swaps[-1].epoch: swaps[-1].plan, **{one.recorded.version: one.plan for one in done}}
    announced, recorded = [one.announced for one in done], [one.recorded for one in done]
    return way("savepoint and restart", environment, (telemetry, scores), announced, recorded, plans)


def polled(stage: Stage) -> Way:
    """The polling rival, alone on the machine but for the cluster."""
    before = measure.ends(stage.environment, RIVAL)
    with stage.flowing():
        time.sleep(STEADY_S)
        changes = poll(stage.arena, stage.size.polls)
    found = cuts.by_partition(versions.polled(stage.environment, before))
    count = cuts.count(found, {partition: each.offsets for partition, each in found.items()}, changes, 0)
    return Way("polling refresh", len(changes), count, count.other, cuts.seen_after(found, changes), cuts.longest_pause(found), False)


def way(name: str, environment: Environment, since: tuple[Offsets, Offsets], announced: list[Change], recorded: list[Change],
        plans: dict[int, str]) -> Way:  # fmt: skip
    """What came of these changes, by what telemetry and scores got since; `plans`: each epoch's, that before the changes the first."""
    found, first = cuts.by_partition(versions.scored(environment, since[1], plans)), min(plans)
    there = versions.readings(environment, since[0], measure.ends(environment, environment.topics.telemetry.name))
    surprised = cuts.count(found, there, announced, first).other
    pause = cuts.longest_pause(found, announced[0].announced)
    return Way(name, len(announced), cuts.count(found, there, recorded, first), surprised, cuts.seen_after(found, announced), pause)


def ends(environment: Environment) -> tuple[Offsets, Offsets]:
    """Of telemetry and of scores, now."""
    topics = environment.topics
    return measure.ends(environment, topics.telemetry.name), measure.ends(environment, topics.scores.name)


def complete(environment: Environment, since: Offsets) -> None:
    """Return when all that was fed is scored and committed."""
    measure.wait(environment, environment.topics.scores.name, since, lambda: None, PATIENCE_S)
