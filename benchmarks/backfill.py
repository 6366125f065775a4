"""`python -m benchmarks.backfill`: a plan over past telemetry at full speed, next to `detect` over the same, beside a deployment that must
not notice either."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks import measure, report
from benchmarks.arena import Arena
from benchmarks.candidates import TIMEOUT_S, Detect, submit
from benchmarks.cluster import cluster, directory
from benchmarks.contest import SAME
from benchmarks.measure import Output
from benchmarks.readings import Readings
from benchmarks.workload import PARTITIONS, PLAN, producer, send
from swapstream.models.errors import ClusterError
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.backfill import Backfill, extractors_of, of_its_own
from swapstream.scripts.bounds import bounds, end_offsets
from swapstream.scripts.console import say, show
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment
from swapstream.scripts.figure import blank, save
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.offsets import committed_offsets
from swapstream.scripts.publish import author_of
from swapstream.scripts.remembered import Memories
from swapstream.scripts.spans import whole_sections
from swapstream.scripts.submitted import group_of
from swapstream.scripts.topics import ensure_topics

GOAL = 1.0
PRODUCTION = "production"
LATER = 20_000
"""Readings that production answers at the end, as if nothing had been."""
SETTLES_S = 30.0


class Measured(Backfill):
    """As the command runs it. `began`: when all tasks ran, in ms."""

    began = 0

    def _wait(self) -> None:
        super()._wait()
        self.began = time.time_ns() // 1_000_000


class Row(msgspec.Struct, frozen=True):
    """Rates of each run, in readings/s from when all tasks ran to the last append. `seconds`: of the whole command."""

    candidate: str
    readings: int
    rates: list[float]
    seconds: list[float]

    @property
    def middle(self) -> float:
        return statistics.median(self.rates)


@click.command()
@click.option("--records", default=2_000_000, show_default=True, type=click.IntRange(20_000), help="Readings in telemetry.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), help="Runs of each, in turns.")
@report.options
def main(records: int, repeat: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure; exits with 1 when backfill is slower than `detect`."""
    with directory(keep) as path:
        detect, backfill = measured(path, records, repeat)
    ratio = backfill.middle / detect.middle
    show(({"candidate": row.candidate, "readings": f"{row.readings:,}", "readings/s": f"{row.middle:,.0f}", "min": f"{min(row.rates):,.0f}",
           "max": f"{max(row.rates):,.0f}", "with start and end, s": f"{statistics.median(row.seconds):.1f}",
           "of detect": f"{row.middle / detect.middle:.2f}"} for row in (detect, backfill)),
         ["candidate", "readings", "readings/s", "min", "max", "with start and end, s", "of detect"], False,
         "beside a deployment that has answered all, exactly once")  # fmt: skip
    report.write_json(json_file, goal=GOAL, ratio=ratio, rows=[detect, backfill])
    if plot:
        draw(plot, [detect, backfill])
    report.verdict([f"{ratio:.2f} of detect's rate, not {GOAL:g}"] if ratio < GOAL else [])


def measured(path: Path, records: int, repeat: int) -> tuple[Row, Row]:
    """Both in turns, each with topics of its own. Production's own run is what warms the JVM up."""
    with cluster(path) as environment:
        arena = Arena.filled(environment, path, Readings(), records)
        job = submit(arena, PRODUCTION)
        scores = environment.topics.scores.name
        measure.wait(environment, scores, dict.fromkeys(range(PARTITIONS), 0), lambda: None, TIMEOUT_S)
        before = settled(environment)
        rows = Row("detect", arena.readings, [], []), Row("backfill", arena.readings, [], [])
        for turn in range(repeat):
            outputs = []
            for row, run in zip(rows, (detect, backfill), strict=True):
                began = time.monotonic()
                outputs.append(run(arena, f"{row.candidate}-{turn}"))
                row.seconds.append(round(time.monotonic() - began, 1))
                row.rates.append(outputs[-1].rate())
                say(f"{row.candidate}: {row.rates[-1]:,.0f} readings/s")
            same(*outputs)
        untouched(arena, job, before)
    return rows


def detect(arena: Arena, run: str) -> Output:
    """`detect` from the beginning of telemetry on, as in `compare`."""
    own = of_its_own(arena.environment, run)
    ensure_topics(own)
    return Detect(arena.readings).run(msgspec.structs.replace(arena, environment=own), run)


def backfill(arena: Arena, run: str) -> Output:
    """All of telemetry, as the command without options."""
    environment, own = arena.environment, of_its_own(arena.environment, run)
    found = Deployment(environment.job.namespace, run, "detect", environment.job.parallelism)
    wanted, plan = whole_sections(environment, environment.topics.telemetry.name, None, None), str(arena.directory / PLAN)
    memories = Memories(environment, None, PRODUCTION, wanted, None)
    job = Measured(own, found, [], wanted, memories, extractors_of(load_plan_file(plan), plan))
    job.run(plan, author_of(environment, "benchmark"))
    output = measure.collect(own, own.topics.scores.name, dict.fromkeys(range(PARTITIONS), 0), measure.frames, job.began)
    if len(output) != arena.readings:
        raise ClusterError(f"backfill answered {len(output)} of {arena.readings} readings")
    return output


def same(detected: Output, filled: Output) -> None:
    if not filled.difference(detected) <= SAME:
        raise ClusterError("backfill's scores are not detect's")


def everything(environment: Environment) -> dict[str, Any]:
    """How far each of production's topics goes, and what its group has read."""
    ends = {role: bounds(environment, topic.name) for role, topic in environment.topics.by_role().items() if role != "parameters"}
    return {**ends, "group": committed_offsets(environment, group_of(environment, environment.job.namespace, PRODUCTION))}


def settled(environment: Environment) -> dict[str, Any]:
    """The same when the group has committed all that there is, which may be a moment after the output. Raises ClusterError."""
    deadline, ends = time.monotonic() + SETTLES_S, end_offsets(environment, environment.topics.telemetry.name)
    while (found := everything(environment))["group"] != ends:
        if time.monotonic() > deadline:
            raise ClusterError(f"production has read up to {found['group']} of {ends} after {SETTLES_S:.0f} s")
        time.sleep(1.0)
    return found


def untouched(arena: Arena, job: str, before: dict[str, Any]) -> None:
    """Raises ClusterError where production has written, read or failed, or does not go on as if nothing had been."""
    environment, now = arena.environment, everything(arena.environment)
    if changed := [f"{name} {before[name]}, now {now[name]}" for name in before if before[name] != now[name]]:
        raise ClusterError(f"production is not as it was: {'; '.join(changed)}")
    topic, start = environment.topics.scores.name, measure.ends(environment, environment.topics.scores.name)
    client = producer(environment)
    send(client, environment.topics.telemetry.name, arena.workload.messages(arena.readings, LATER))
    client.flush()
    measure.wait(environment, topic, start, lambda: None, TIMEOUT_S)
    later, failure = len(measure.collect(environment, topic, start, measure.frames)), FlinkCommandLine(environment).rest.exception(job)
    if later != LATER or failure:
        raise ClusterError(f"production has answered {later} of {LATER} further readings; its failure: {failure or 'none'}")


def draw(file: Path, rows: list[Row]) -> None:
    """Each run's rate."""
    figure = blank(1)
    panel = figure.subplots(1, 1)
    for row in rows:
        panel.plot([row.candidate] * len(row.rates), row.rates, "o")
    panel.set(ylabel="readings/s", ylim=0)
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
