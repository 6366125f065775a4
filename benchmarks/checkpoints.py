"""`python -m benchmarks.checkpoints`: what checkpoints of a million devices cost, with state on the heap and in RocksDB."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from benchmarks import measure, report
from benchmarks.arena import Arena
from benchmarks.candidates import submit
from benchmarks.cluster import cluster, directory
from benchmarks.feeder import Feeder, Timed
from benchmarks.measure import Offsets
from benchmarks.memory import position
from benchmarks.workload import PARTITIONS
from swapstream.models.errors import ClusterError
from swapstream.scripts.console import progress, show
from swapstream.scripts.environment import Environment
from swapstream.scripts.figure import blank, save
from swapstream.scripts.flink_cli import FlinkCommandLine

BACKENDS = ("hashmap", "rocksdb")
GOAL_S = 1.0
PATIENCE_S = 600.0


class Many(Timed):
    """So many devices that the plan has to allow for them."""

    def plan(self) -> dict[str, Any]:
        return super().plan() | {"devices": {"max": 2 * len(self.devices) // PARTITIONS}}


class Checkpoint(msgspec.Struct, frozen=True):
    """A completed checkpoint: seconds from its trigger to its end, bytes of state that it refers to and that it wrote."""

    number: int
    seconds: float
    state: int
    written: int


@click.command()
@click.option("--devices", default=1_000_000, show_default=True, type=click.IntRange(1_000), help="How many there are.")
@click.option("--rate", default=20_000, show_default=True, type=click.IntRange(100), help="Readings a second while it is measured.")
@click.option("--seconds", default=40, show_default=True, type=click.IntRange(5), help="How long it is measured.")
@report.options
def main(devices: int, rate: int, seconds: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure; exits with 1 when output pauses for more than a second anywhere."""
    found = {}
    with directory(keep) as path:
        for backend in BACKENDS:
            found[backend] = measured(path / backend, backend, devices, rate, seconds)
    rows = [summary(backend, *found[backend]) for backend in BACKENDS]
    show([{key: value if isinstance(value, str) else f"{value:.2f}" for key, value in row.items()} for row in rows], list(rows[0]),
         False, f"{devices:,} devices, {rate:,} readings/s, every frame's changes are state")
    report.write_json(json_file, devices=devices, rate=rate, goal=GOAL_S, summary=rows,
                      checkpoints={backend: found[backend][0] for backend in BACKENDS})
    if plot:
        draw(plot, {backend: found[backend][0] for backend in BACKENDS})
    report.verdict([f"output paused for {row['longest pause, s']:.2f} s with {row['backend']}" for row in rows
                    if float(row["longest pause, s"]) > GOAL_S])


def measured(path: Path, backend: str, devices: int, rate: int, seconds: int) -> tuple[list[Checkpoint], float]:
    """Every device gets a reading, then all of them go on at a steady rate: the checkpoints since, and the longest pause."""
    with cluster(path, job={"state_backend": backend}) as environment:
        arena = Arena.filled(environment, path, Many(devices), devices)
        job = submit(arena, "checkpoints")
        found = follow(environment, job, devices, f"first reading of each device, {backend}")
        newest, before = max(found), measure.ends(environment, environment.topics.scores.name)
        with Feeder(environment, devices, rate * seconds, rate):
            found = follow(environment, job, devices + rate * seconds, f"steady rate, {backend}")
        return [found[number] for number in sorted(found) if number > newest], longest_pause(environment, before)


def follow(environment: Environment, job: str, readings: int, what: str) -> dict[int, Checkpoint]:
    """The checkpoints that are completed until one covers so many readings. Raises ClusterError."""
    deadline, done, found = time.monotonic() + PATIENCE_S, 0, {}
    with progress("readings") as bar:
        task = bar.add_task(what, total=readings)
        while done < readings:
            if time.monotonic() > deadline:
                raise ClusterError(f"{done} of {readings} readings are done after {PATIENCE_S:.0f} s")
            time.sleep(0.5)
            done = position(environment, "checkpoints")
            found.update(completed(environment, job))
            bar.update(task, completed=done)
    return found


def completed(environment: Environment, job: str) -> dict[int, Checkpoint]:
    """The newest completed checkpoints of a job by number; Flink remembers ten."""
    history = FlinkCommandLine(environment).rest.checkpoints(job)["history"]
    return {entry["id"]: Checkpoint(entry["id"], entry["end_to_end_duration"] / 1000, entry["state_size"], entry["checkpointed_size"])
            for entry in history if entry["status"] == "COMPLETED"}


def longest_pause(environment: Environment, before: Offsets) -> float:
    """The longest time in seconds between two appends to the same partition of scores, committed or not."""
    appended: dict[int, list[int]] = {}
    for message in measure.messages(environment, environment.topics.scores.name, before, committed=False):
        appended.setdefault(message.partition, []).append(message.appended)
    return max(int(np.diff(sorted(times)).max(initial=0)) for times in appended.values()) / 1000


def summary(backend: str, checkpoints: list[Checkpoint], pause: float) -> dict[str, Any]:
    if not checkpoints:
        raise ClusterError(f"no checkpoint was completed with {backend}")
    seconds = [checkpoint.seconds for checkpoint in checkpoints]
    return {"backend": backend, "checkpoints": str(len(seconds)), "median, s": float(np.median(seconds)), "longest, s": max(seconds),
            "state, MB": checkpoints[-1].state / 1e6, "written each, MB": float(np.median([each.written for each in checkpoints])) / 1e6,
            "longest pause, s": pause}


def draw(file: Path, found: dict[str, list[Checkpoint]]) -> None:
    """How long each checkpoint took."""
    figure = blank(1)
    panel = figure.subplots(1, 1)
    for backend, checkpoints in found.items():
        panel.plot([each.seconds for each in checkpoints], "o-", label=backend)
    panel.set(xlabel="checkpoint", ylabel="seconds", ylim=0)
    panel.legend()
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
