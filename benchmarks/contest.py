"""Candidates side by side: on one cluster, on the same telemetry, one after the other, and their scores must agree."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks.arena import Arena, Candidate
from benchmarks.cluster import cluster
from benchmarks.measure import Output
from benchmarks.workload import Workload
from swapstream.models.errors import ClusterError
from swapstream.scripts.console import say

SAME = 1e-6
"""Relative to the larger score, or absolute where scores are small: graphs compute in float32."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate: the median rate of its runs in readings/s, of all readings and of the second half of them; how many times
    as fast the first candidate is, and how many it has to be."""

    candidate: str
    readings: int
    rate: float
    steady_rate: float
    rates: list[float]
    ratio: float
    goal: float | None

    @property
    def missed(self) -> bool:
        return self.goal is not None and self.ratio < self.goal


class Result(msgspec.Struct, frozen=True):
    """A contest: `title` of the work, mean bytes a message, the candidates, the first one first; the first one's rates while it
    warmed the cluster up."""

    title: str
    bytes: float
    rows: list[Row]
    warm_ups: list[float]


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--repeat and --warm-ups, which every contest has."""
    for option in (
        click.option("--warm-ups", default=6, show_default=True, type=click.IntRange(1),
                     help="Runs of detect before, which don't count: the cluster's JVM compiles what is hot."),
        click.option("--repeat", default=1, show_default=True, type=click.IntRange(1), help="Runs of each candidate, in turns."),
    ):
        command = option(command)
    return command


def contest(path: Path, workload: Workload, candidates: Sequence[Candidate], goals: dict[str, float], repeat: int,
            warm_ups: int) -> Result:
    """Every candidate in turn, `repeat` times, after runs of the first one that don't count: they have the cluster's JVM compile
    what is hot. The first one gets all of telemetry; `goals` says how many times as fast as a candidate it has to be.
    Raises ClusterError, also when scores differ."""
    outputs: dict[str, list[Output]] = {candidate.name: [] for candidate in candidates}
    with cluster(path) as environment:
        arena = Arena.filled(environment, path, workload, max(candidate.readings for candidate in candidates))
        warming = [_warm_up(candidates[0], arena, number) for number in range(warm_ups)]
        for turn in range(repeat):
            for place, candidate in enumerate(candidates):
                output = candidate.run(arena, f"bench-{turn}-{place}")
                say(f"{candidate.name}: {output.rate():,.0f} readings/s of {len(output):,}")
                outputs[candidate.name].append(output)
                _agree(candidate.name, output, outputs[candidates[0].name][turn])
    return Result(workload.title, arena.size, _rows(outputs, goals), warming)


def _warm_up(candidate: Candidate, arena: Arena, number: int) -> float:
    """The rate of a run that doesn't count."""
    rate = candidate.run(arena, f"bench-warm-up-{number}").rate()
    say(f"{candidate.name}, warming up: {rate:,.0f} readings/s")
    return rate


def _agree(name: str, output: Output, reference: Output) -> None:
    worst = output.difference(reference)
    if not worst <= SAME:
        raise ClusterError(f"scores of {name} differ by up to {worst:g}: it does not do the same work")


def _rows(outputs: dict[str, list[Output]], goals: dict[str, float]) -> list[Row]:
    rates = {name: [output.rate() for output in runs] for name, runs in outputs.items()}
    middle = {name: statistics.median(found) for name, found in rates.items()}
    first = next(iter(middle.values()))
    return [Row(candidate=name, readings=len(runs[0]), rate=middle[name], rates=rates[name], ratio=first / middle[name],
                steady_rate=statistics.median(output.steady_rate() for output in runs), goal=goals.get(name))
            for name, runs in outputs.items()]
