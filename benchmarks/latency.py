"""`python -m benchmarks.latency`: from a reading's production to its score at a consumer, at a fixed rate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import msgspec
import numpy as np

from benchmarks import measure, report
from benchmarks.arena import Arena
from benchmarks.candidates import submit
from benchmarks.cluster import cluster, directory
from benchmarks.feeder import Feeder, Timed
from benchmarks.measure import Offsets, percentiles
from swapstream.models.errors import ClusterError
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.scores import decode_scores
from swapstream.scripts.console import show
from swapstream.scripts.environment import Environment
from swapstream.scripts.figure import blank, save

GOALS = {"p50": 80.0, "p99": 200.0}
PERCENTILES = (50, 90, 99, 99.9)
QUIET_S = 5.0


class Latencies(msgspec.Struct, frozen=True):
    """Of each reading, in the order of arrival: `due` [n] s since the first was due, `waited` [n] ms from then to its score."""

    due: Float64
    waited: Float64

    def after(self, seconds: float) -> Latencies:
        late = self.due >= seconds
        return Latencies(self.due[late], self.waited[late])

@click.command()
@click.option("--rate", default=20_000, show_default=True, type=click.IntRange(100), help="Readings a second.")
@click.option("--seconds", default=110, show_default=True, type=click.IntRange(2), help="How long.")
@click.option("--warm-up", default=70, show_default=True, type=click.IntRange(0), help="Seconds that don't count.")
@click.option("--delivery", default="at_least_once", show_default=True, type=click.Choice(["at_least_once", "exactly_once"]))
@click.option("--frame-ms", default=30, show_default=True, type=click.IntRange(1), help="How long a frame collects.")
@click.option("--buffer-timeout-ms", default=2, show_default=True, type=click.IntRange(1), help="See conf/README.md.")
@click.option("--bundle-ms", default=5, show_default=True, type=click.IntRange(1), help="See conf/README.md.")
@report.options
def main(rate: int, seconds: int, warm_up: int, json_file: Path | None, plot: Path | None, keep: bool, **job: str | int) -> None:
    """Measure; exits with 1 when a goal is missed. The consumer reads uncommitted, as at-least-once output is meant."""
    with directory(keep) as path, cluster(path, job=job) as environment:
        arena = Arena.filled(environment, path, Timed(), 0)
        before = measure.ends(environment, environment.topics.scores.name)
        submit(arena, "latency")
        with Feeder(environment, 1000, rate * seconds, rate) as feeder:
            found = collect(environment, before, rate * seconds, feeder)
    counted = found.after(min(warm_up, seconds / 2))
    row = percentiles(counted.waited, PERCENTILES)
    show([{"ms": "produced to consumed", **{name: f"{value:.0f}" for name, value in row.items()}}], ["ms", *row], False,
         f"{rate:,} readings/s, {len(counted.due):,} counted, {job}")
    report.write_json(json_file, rate=rate, job=job, goals=GOALS, counted=len(counted.due), milliseconds=row)
    if plot:
        draw(plot, found)
    report.verdict([f"{name} is {row[name]:.0f} ms, not under {goal:.0f}" for name, goal in GOALS.items() if row[name] >= goal])


def collect(environment: Environment, before: Offsets, expected: int, feeder: Feeder) -> Latencies:
    """Every score as it arrives. Raises ClusterError when some don't."""
    arrived, times = [], []
    left, deadline = expected, time.monotonic() + QUIET_S
    for now, columns in arrivals(environment, before):
        if columns is not None:
            left -= len(columns)
            times.append(columns)
            arrived.append(np.full(len(columns), now))
        if columns is not None or not feeder.fed:
            deadline = time.monotonic() + QUIET_S
        if left <= 0:
            break
        if time.monotonic() > deadline:
            raise ClusterError(f"{left} of {expected} scores did not come")
    due = np.concatenate(times)
    return Latencies((due - due.min()) / 1e6, (np.concatenate(arrived) - due) / 1e3)


def arrivals(environment: Environment, before: Offsets, committed: bool = False) -> Iterator[tuple[int, Int64 | None]]:
    """When a message of scores came, and its event times, both in microseconds; None where nothing came for a while."""
    with closing(measure.reader(environment, environment.topics.scores.name, before, committed)) as consumer:
        while True:
            message = consumer.poll(0.5)
            now = time.time_ns() // 1000
            if message is None or message.error() is not None:
                yield now, None
            else:
                yield now, decode_scores(message.value()).column("times")


def draw(file: Path, found: Latencies) -> None:
    """Percentiles of each second."""
    figure = blank(1)
    panel = figure.subplots(1, 1)
    second = found.due.astype(int)
    report.by_second(panel, second, found.waited)
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
