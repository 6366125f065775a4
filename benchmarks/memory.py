"""`python -m benchmarks.memory`: does a worker grow while it works? Resident memory over a long run."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec
import numpy as np
import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from benchmarks import report
from benchmarks.arena import Arena
from benchmarks.candidates import submit
from benchmarks.cluster import cluster, directory
from benchmarks.feeder import Feeder, Timed
from benchmarks.measure import admin
from benchmarks.workload import PARTITIONS
from swapstream.models.errors import ClusterError
from swapstream.scripts.console import progress, show
from swapstream.scripts.environment import Environment
from swapstream.scripts.figure import blank, save
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.processes import marked

GOAL = 2.0
"""Per cent."""
AHEAD = 2_000_000
"""Readings that lie in telemetry before their turn: enough to keep the job busy until it says again how far it is."""
WORKERS = {"Python worker": "pyflink.fn_execution", "TaskManager": "TaskManagerRunner"}
STUCK_S = 120.0


class Sample(msgspec.Struct, frozen=True):
    """Readings done, and resident bytes of each worker, by its name and pid."""

    done: int
    resident: dict[str, int]


@click.command()
@click.option("--records", default=50_000_000, show_default=True, type=click.IntRange(100_000), help="Readings: 7 GB of disk.")
@click.option("--devices", default=10_000, show_default=True, type=click.IntRange(1), help="How many devices they are of.")
@report.options
def main(records: int, devices: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure; exits with 1 when a Python worker grows by 2 % or more between the second and the last quarter."""
    with directory(keep) as path, cluster(path) as environment:
        arena = Arena.filled(environment, path, Timed(devices), 0)
        began = time.monotonic()
        job = submit(arena, "memory")
        with Feeder(environment, devices, records) as feeder:
            samples = watch(environment, job, records, feeder)
        seconds = time.monotonic() - began
    rows = [growth(worker, samples, records) for worker in sorted(samples[-1].resident)]
    shown = [{**row, **{key: f"{row[key]:.1f}" for key in ("second quarter, MB", "last quarter, MB", "growth, %")}} for row in rows]
    show(shown, list(rows[0]), False, f"{records:,} readings of {devices:,} devices in {seconds:.0f} s")
    report.write_json(json_file, records=records, devices=devices, seconds=seconds, goal=GOAL, summary=rows, samples=samples)
    if plot:
        draw(plot, samples)
    python = [row for row in rows if str(row["worker"]).startswith("Python")]
    if not python:
        raise ClusterError("no Python worker was found")
    report.verdict([f"{row['worker']} grew by {row['growth, %']:.1f} %" for row in python if float(row["growth, %"]) >= GOAL])


def watch(environment: Environment, job: str, records: int, feeder: Feeder) -> list[Sample]:
    """A sample a second until every reading is done. Raises ClusterError when nothing moves, or a worker is another one."""
    flink, samples, moved, done = FlinkCommandLine(environment), [], time.monotonic(), 0
    feeder.allow(min(records, AHEAD))
    with progress("readings") as bar:
        task = bar.add_task("reading", total=records)
        while done < records:
            time.sleep(1.0)
            before, done = done, position(environment, "memory")
            feeder.allow(min(records, done + AHEAD))
            moved = time.monotonic() if done > before else moved
            if (failure := flink.rest.exception(job)) or time.monotonic() - moved > STUCK_S:
                raise ClusterError(f"the job failed or stands still: {failure or done}")
            samples.append(Sample(done, resident(environment)))
            bar.update(task, completed=done)
    return samples


def position(environment: Environment, deployment: str) -> int:
    """Readings that the job has done by its last checkpoint: it commits the offsets to its consumer group."""
    group, topic = f"{environment.job.namespace}.{deployment}", environment.topics.telemetry.name
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    found = admin(environment.broker.servers).list_consumer_group_offsets([wanted])[group].result()
    return sum(max(0, partition.offset) for partition in found.topic_partitions)


def resident(environment: Environment) -> dict[str, int]:
    """Bytes of each worker of the cluster now."""
    found = {}
    for process in marked(environment.path):
        try:
            command = " ".join(process.cmdline())
            name = next((name for name, sign in WORKERS.items() if sign in command), None)
            if name:
                found[f"{name} {process.pid}"] = process.memory_info().rss
        except psutil.Error:
            continue
    return found


def growth(worker: str, samples: list[Sample], records: int) -> dict[str, str | float]:
    """Median resident memory of a worker in the second and in the last quarter of the readings."""
    quarters: list[list[int]] = [[], [], [], []]
    for sample in samples:
        quarters[min(3, 4 * sample.done // records)].append(sample.resident.get(worker, 0))
    if not (quarters[1] and quarters[3]) or not all(quarters[1]):
        raise ClusterError(f"{worker} was not there all the time, or the run was too short to tell")
    second, last = float(np.median(quarters[1])), float(np.median(quarters[3]))
    return {"worker": worker, "second quarter, MB": second / 1e6, "last quarter, MB": last / 1e6,
            "growth, %": 100 * (last / second - 1)}


def draw(file: Path, samples: list[Sample]) -> None:
    """Resident memory over readings."""
    figure = blank(1)
    panel = figure.subplots(1, 1)
    for worker in samples[-1].resident:
        panel.plot([sample.done / 1e6 for sample in samples], [sample.resident.get(worker, 0) / 1e6 for sample in samples], label=worker)
    panel.set(xlabel="million readings", ylabel="resident MB", ylim=0)
    panel.legend()
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
