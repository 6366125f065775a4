"""`python -m benchmarks.replay`: doing again, here and without Flink, what a deployment did with a million readings."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import click
import msgspec

from benchmarks import report
from benchmarks.arena import Arena
from benchmarks.candidates import Detect
from benchmarks.cluster import FILE, cluster, directory
from benchmarks.readings import Readings
from swapstream.models.errors import ClusterError
from swapstream.scripts.console import say, show
from swapstream.scripts.figure import blank, save

GOAL_S = 20.0
RUN = "replayed"
NOTEBOOK = """
import json, sys, time
began = time.perf_counter()
from swapstream.scripts.replay import replay
frame = replay(deployment=sys.argv[2], environment=sys.argv[1])
print(json.dumps([time.perf_counter() - began, len(frame), frame.attrs["divergences"]]))
"""


class Done(NamedTuple):
    """A process that has ended well: seconds from its start to its end, the most that it had in memory, what it said."""

    seconds: float
    megabytes: float
    stdout: str
    stderr: str


class Row(msgspec.Struct, frozen=True):
    """`seconds` of each run; `megabytes`: the most that one of them had in memory."""

    what: str
    readings: int
    seconds: list[float]
    megabytes: float
    goal: float | None = None

    @property
    def middle(self) -> float:
        return statistics.median(self.seconds)

    @property
    def missed(self) -> bool:
        return self.goal is not None and self.middle > self.goal


@click.command()
@click.option("--records", default=1_000_000, show_default=True, type=click.IntRange(20_000), help="Readings in telemetry.")
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1), help="That send them in turn.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), help="Runs of each.")
@report.options
def main(records: int, devices: int, repeat: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Let `detect` answer them, and replay all of it, by the command and by the notebook's function, each run in a process of its own.
    Exits with 1 when the median takes longer than 20 s."""
    with directory(keep) as path:
        rows = measured(path, Readings(devices), records, repeat)
    show(({"replay": row.what, "readings": f"{row.readings:,}", "median s": f"{row.middle:.1f}", "best s": f"{min(row.seconds):.1f}",
           "worst s": f"{max(row.seconds):.1f}", "readings/s": f"{row.readings / row.middle:,.0f}", "MB": f"{row.megabytes:,.0f}",
           "goal": f"{row.goal:g} s" if row.goal else ""} for row in rows),
         ["replay", "readings", "median s", "best s", "worst s", "readings/s", "MB", "goal"], False,
         f"what detect did, done again; {devices:,} devices")  # fmt: skip
    report.write_json(json_file, goal_seconds=GOAL_S, devices=devices, rows=rows)
    if plot:
        draw(plot, rows)
    report.verdict([f"{row.what}: {row.middle:.1f} s for {row.readings:,} readings, not {row.goal:g}" for row in rows if row.missed])


def measured(path: Path, workload: Readings, records: int, repeat: int) -> list[Row]:
    """All of it, beside a broker that has nothing else to do."""
    with cluster(path) as environment:
        arena = Arena.filled(environment, path, workload, records)
        Detect(records).run(arena, RUN)
        file = str(path / FILE)
        command = [str(Path(sys.executable).with_name("swapstream")), "--environment", file, "replay", "--deployment", RUN, "--limit", "10"]
        notebook = [sys.executable, "-c", NOTEBOOK, file, RUN]
        rows = [row("the notebook's function", arena.readings, [in_a_notebook(notebook, arena.readings) for _ in range(repeat)], GOAL_S),
                row("swapstream replay", arena.readings, [by_command(command, arena.readings) for _ in range(repeat)], GOAL_S)]
        command[3] = "verify"
        return [*rows, row("swapstream verify, beside it", arena.readings, [by_command(command[:6], 0)], None)]


def row(what: str, readings: int, done: list[Done], goal: float | None) -> Row:
    return Row(what, readings, [one.seconds for one in done], max(one.megabytes for one in done), goal)


def by_command(command: list[str], readings: int) -> Done:
    """Raises ClusterError where it had another result than production; `readings`: 0 where it does not say how many."""
    done = run(command)
    if readings and (f"{readings:,} readings" not in done.stdout or "as production had it" not in done.stderr):
        raise ClusterError(f"replay is not of {readings:,} readings, or not as production had it: {done.stdout} {done.stderr}")
    say(f"{command[3]}: {done.seconds:.1f} s")
    return done


def in_a_notebook(command: list[str], readings: int) -> Done:
    """Its seconds are those from the import on. Raises ClusterError."""
    done = run(command)
    seconds, rows, divergences = json.loads(done.stdout)
    if rows != readings or divergences:
        raise ClusterError(f"{rows:,} readings of {readings:,} were replayed, with divergences {divergences}")
    say(f"a notebook: {seconds:.1f} s")
    return done._replace(seconds=seconds)


def run(command: list[str]) -> Done:
    """Raises ClusterError."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        seconds, process.returncode = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        done = Done(seconds, used.ru_maxrss / 1000, out.read(), err.read())
    if process.returncode:
        raise ClusterError(f"{' '.join(command)} exited with {process.returncode}: {done.stderr}")
    return done


def draw(file: Path, rows: list[Row]) -> None:
    """Each run's seconds."""
    figure = blank(1)
    panel = figure.subplots(1, 1)
    for one in rows:
        panel.plot([one.what] * len(one.seconds), one.seconds, "o")
    panel.axhline(GOAL_S, color="black", linestyle="--", linewidth=0.8)
    panel.set(ylabel="seconds", ylim=0)
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
