"""`python -m benchmarks.throughput`: detect against PyFlink with one element per record, in one run on one cluster of its own."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks import measure, workload
from benchmarks.candidates import DEFAULTS, RAISED, Candidate, Detect, PerRecord
from swapstream.models.errors import ClusterError, SwapstreamError
from swapstream.scripts.cluster import down, up
from swapstream.scripts.console import out, say, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.flink_cli import FlinkCommandLine

TIMEOUT_S = 900.0
GOAL = 10.0
SAME = 1e-6
COLUMNS = ["candidate", "readings", "records/s", "second half", "min", "max", "detect is faster by"]


class Run(msgspec.Struct, frozen=True):
    """One run of one candidate."""

    candidate: str
    readings: int
    rate: float
    steady_rate: float


@click.command()
@click.option("--records", default=1_000_000, show_default=True, type=click.IntRange(10_000), help="Readings for detect.")
@click.option("--rival-records", default=100_000, show_default=True, type=click.IntRange(5_000),
              help="Readings for the per-record jobs, at most --records.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1), help="Runs of each candidate, in turns.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write every run and the summary here.")
@click.option("--keep", is_flag=True, help="Keep the directory with its logs.")
def main(records: int, rival_records: int, repeat: int, json_file: str | None, keep: bool) -> None:
    """Measure detect and its rivals; exits with 1 when detect is less than 10 times as fast as the best of them."""
    with directory(keep) as path, cluster(path) as environment:
        model = workload.train_model(environment.store, path)
        size = workload.fill(environment, path, records)
        share = min(1.0, rival_records / records)
        candidates: list[Candidate] = [
            Detect(path / "plan.yaml"),
            PerRecord("per record, defaults", share, DEFAULTS, model, path),
            PerRecord("per record, state cache and bundle raised", share, RAISED, model, path),
        ]
        runs = measure_all(environment, candidates, repeat)
    rows = summary(runs)
    ratio = min(row["detect is faster by"] for row in rows[1:])
    result = {"bytes": size, "devices": workload.DEVICES, "parallelism": environment.job.parallelism,
              "checkpoint_ms": environment.job.checkpoint_ms, "delivery": "exactly_once", "cores": os.cpu_count(),
              "python": platform.python_version(), "ratio": ratio, "summary": rows, "runs": runs}
    if json_file:
        Path(json_file).write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    show([{key: text(value) for key, value in row.items()} for row in rows], COLUMNS, False,
         f"{size:.0f} bytes a reading, exactly once, {os.cpu_count()} cores")
    out.print(f"detect is {ratio:.1f} times as fast as the best per-record job; the goal is {GOAL:.0f}")
    raise SystemExit(0 if ratio >= GOAL else 1)


@contextmanager
def directory(keep: bool) -> Iterator[Path]:
    """Where everything of this benchmark lies."""
    path = Path(tempfile.mkdtemp(prefix="swapstream-"))
    try:
        yield path
    finally:
        if keep:
            say(f"kept {path}")
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def cluster(path: Path) -> Iterator[Environment]:
    """A broker and a Flink cluster on free ports, stopped at the end."""
    file = workload.write_files(path)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the cluster would outlive an impatient caller
    try:
        environment = up(str(file))
        workload.create_rival_topic(environment)
        yield environment
    finally:
        down(load_environment(str(file)))


def measure_all(environment: Environment, candidates: list[Candidate], repeat: int) -> list[Run]:
    """Every candidate in turn, `repeat` times; their scores of the same reading are the same, or ClusterError is raised."""
    runs = []
    for turn in range(repeat):
        outputs = []
        for place, candidate in enumerate(candidates):
            output = measure_one(environment, candidate, f"bench-{turn}-{place}")
            runs.append(Run(candidate.name, len(output.times), output.rate(), output.steady_rate()))
            say(f"{candidate.name}: {output.rate():,.0f} records/s")
            outputs.append(output)
        compare(outputs)
    return runs


def measure_one(environment: Environment, candidate: Candidate, run: str) -> measure.Output:
    """Start a candidate, wait for its scores, end it and read them."""
    flink, before = FlinkCommandLine(environment), measure.ends(environment, candidate.topic)
    ends = measure.ends(environment, environment.topics.telemetry.name)
    stop = {partition: int(end * candidate.share) for partition, end in ends.items()}
    job = candidate.start(environment, run, stop)

    def check() -> None:
        failure = flink.rest.exception(job)  # one that Flink recovers from spoils the figure, too
        if failure:
            raise ClusterError(f"{candidate.name} failed: {failure}")

    try:
        measure.wait(environment, candidate.topic, before, check, TIMEOUT_S)
    finally:
        flink.cancel(job)
    return measure.collect(environment, candidate.topic, before, candidate.read, sum(stop.values()))


def compare(outputs: list[measure.Output]) -> None:
    """All candidates do the same work: where they scored the same reading, they say the same. Raises ClusterError."""
    reference = outputs[0].by_time()
    for output in outputs[1:]:
        worst = max(abs(score - reference[when]) for when, score in output.by_time().items())
        if worst > SAME:
            raise ClusterError(f"the candidates' scores differ by up to {worst:g}: they do not do the same work")


def summary(runs: list[Run]) -> list[dict[str, Any]]:
    """A row for each candidate, the first one first."""
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(run.candidate for run in runs):
        mine = [run for run in runs if run.candidate == name]
        rates = [run.rate for run in mine]
        rows.append({"candidate": name, "readings": mine[0].readings, "records/s": statistics.median(rates),
                     "second half": statistics.median(run.steady_rate for run in mine),
                     "min": min(rates), "max": max(rates)})
    return [row | {"detect is faster by": rows[0]["records/s"] / row["records/s"]} for row in rows]


def text(value: Any) -> str:
    """A cell of the table."""
    return (f"{value:,.0f}" if value >= 1000 else f"{value:.1f} x") if isinstance(value, float | int) else str(value)


if __name__ == "__main__":
    try:
        main()
    except SwapstreamError as error:
        say(f"throughput: {error}")
        sys.exit(error.exit_code)
