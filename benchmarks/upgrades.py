"""`python -m benchmarks.upgrades`: upgrades in a row while records flow, by handover; and by savepoint, beside them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from benchmarks import cuts, measure, report, versions
from benchmarks.cluster import STAMPED, cluster, directory
from benchmarks.cuts import Count, Scored, count
from benchmarks.feeder import Feeder
from benchmarks.handing_over import NAME, Plans, Upgrade, complete, submitted, upgrade
from benchmarks.lineage import compare
from benchmarks.listener import Listener
from benchmarks.measure import Offsets
from benchmarks.ordering import Order, ordered
from benchmarks.upgrades_report import GOALS, Found, Handovers, Mode, Size, draw, latencies, missed, tables
from benchmarks.workload import PARTITIONS, fill
from swapstream.models.errors import ClusterError
from swapstream.scripts.environment import Environment
from swapstream.scripts.job import cancel

TOPICS = {"telemetry": {"name": "telemetry", "partitions": PARTITIONS},
          "scores": {"name": "scores", "partitions": PARTITIONS, "config": STAMPED},
          "ledger": {"name": "ledger", "partitions": 1, "config": STAMPED}}
LONG_S = 36_000


@click.command()
@click.option("--upgrades", default=20, show_default=True, type=click.IntRange(1), help="Handovers in a row.")
@click.option("--rate", default=20_000, show_default=True, type=click.IntRange(100), help="Readings a second.")
@click.option("--rest", default=10.0, show_default=True, type=click.FloatRange(2.0), help="Seconds between upgrades.")
@click.option("--warm-up", default=60, show_default=True, type=click.IntRange(1), help="Seconds before the first.")
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1), help="Of the handovers in a row.")
@click.option("--many", default=100_000, show_default=True, type=click.IntRange(1), help="Devices of the upgrades by savepoint.")
@click.option("--stops", default=3, show_default=True, type=click.IntRange(1), help="Upgrades by savepoint, and handovers beside them.")
@report.options
def main(json_file: Path | None, plot: Path | None, keep: bool, **size: Any) -> None:
    """Measure; exits with 1 when a goal is missed. Exactly once, and alternating between two versions of an extractor's code."""
    wanted = Size(**size)
    with directory(keep) as path:
        with cluster(path / "handovers", topics=TOPICS) as environment:
            handovers = in_a_row(environment, path / "handovers", wanted)
            interval = environment.job.checkpoint_ms
        with cluster(path / "savepoints", topics=TOPICS) as environment:
            modes = side_by_side(environment, path / "savepoints", wanted)
    found = Found(handovers, modes, interval)
    tables(found, wanted)
    report.write_json(json_file, size=wanted, goals=GOALS, found=found)
    if plot:
        draw(plot, found)
    report.verdict(missed(found))


def in_a_row(environment: Environment, path: Path, size: Size) -> Handovers:
    """Handovers to one version of the extractor and back, while readers listen."""
    plans = Plans(environment, path / "plans", size.devices)
    since = ends(environment)
    first, done = submitted(environment, plans), list[Upgrade]()
    with (
        Feeder(environment, size.devices, size.rate * LONG_S, size.rate) as feeder,
        Listener(environment, since[1], path / "all.npz") as every,
        Listener(environment, since[1], path / "committed.npz", committed=True) as committed,
    ):
        time.sleep(size.warm_up)
        for number in range(size.upgrades):
            done.append(upgrade(environment, "handover", plans.files[(number + 1) % 2]))
            time.sleep(size.rest)
        require_alive(feeder)
        heard = every.heard(), committed.heard()
    counted, order = settled(environment, since, first, done)
    state = compare(environment, first, done)
    cancel(environment, NAME)
    return Handovers(done, counted, order, state, *(latencies(one, done, size.warm_up) for one in heard))


def side_by_side(environment: Environment, path: Path, size: Size) -> list[Mode]:
    """Upgrades by savepoint of a job that knows many devices, and handovers of the same one."""
    plans = Plans(environment, path / "plans", size.many)
    since = ends(environment)
    fill(environment, plans.workload, size.many)
    first, found, number = submitted(environment, plans), list[tuple[str, list[Upgrade]]](), 0
    with Feeder(environment, size.many, size.rate * LONG_S, size.rate) as feeder:
        time.sleep(size.warm_up / 2)
        for mode in ("savepoint", "handover"):
            done = []
            for _ in range(size.stops):
                number += 1
                done.append(upgrade(environment, mode, plans.files[number % 2]))
                time.sleep(size.rest)
            found.append((mode, done))
        require_alive(feeder)
    scored, there = output(environment, since, first, [one for _, done in found for one in done])
    lost, twice = not_once(scored, there)
    cancel(environment, NAME)
    return [Mode(mode, done, [pause(scored, one) for one in done], lost, twice) for mode, done in found]


def require_alive(feeder: Feeder) -> None:
    if feeder.fed:
        raise ClusterError("the feeder ended before the last upgrade")


def ends(environment: Environment) -> tuple[Offsets, Offsets]:
    """Of telemetry and of scores, now."""
    topics = environment.topics
    return measure.ends(environment, topics.telemetry.name), measure.ends(environment, topics.scores.name)


def output(environment: Environment, since: tuple[Offsets, Offsets], first: str, done: list[Upgrade]) -> tuple[dict[int, Scored], Any]:
    """What came out of what was fed, by partition, and the readings there are."""
    complete(environment, since[1])
    plans = {0: first, **{one.epoch: one.plan for one in done}}
    scored = cuts.by_partition(versions.scored(environment, since[1], plans))
    return scored, versions.readings(environment, since[0], measure.ends(environment, environment.topics.telemetry.name))


def settled(environment: Environment, since: tuple[Offsets, Offsets], first: str, done: list[Upgrade]) -> tuple[Count, Order]:
    """Each reading once, by the version that its offset implies, and in order."""
    scored, there = output(environment, since, first, done)
    return count(scored, there, [one.change for one in done], 0), ordered(environment, since[1])


def not_once(scored: dict[int, Scored], there: Any) -> tuple[int, int]:
    """How many readings are lost, and how many there twice."""
    counted = count(scored, there, [], 0)
    return counted.lost, counted.twice


def pause(scored: dict[int, Scored], one: Upgrade) -> float:
    """The longest time in ms without output of a partition, while an upgrade took place."""
    return cuts.longest_pause(scored, one.began, one.ended)


if __name__ == "__main__":
    report.run(main)
