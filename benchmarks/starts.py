"""`python -m benchmarks.starts`: how long a job takes to start behind few definitions, and behind many."""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from pathlib import Path

import click
import msgspec
import numpy as np

from benchmarks import measure, report
from benchmarks.arena import Arena
from benchmarks.candidates import TIMEOUT_S
from benchmarks.cluster import cluster, directory
from benchmarks.readings import Readings
from benchmarks.workload import PLAN
from swapstream.models.errors import ClusterError
from swapstream.operators.statement import Statement, digest_of
from swapstream.scripts import kafka
from swapstream.scripts.console import show
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment
from swapstream.scripts.figure import blank, save
from swapstream.scripts.job import cancel
from swapstream.scripts.keyring import own_signer
from swapstream.scripts.publish import author_of
from swapstream.scripts.submission import Submission

READINGS, MODEL_BYTES = 40_000, 2_000
GOAL_S = 1.0
"""Seconds that a thousand definitions may add."""


class Start(msgspec.Struct, frozen=True):
    """Of one start with so many definitions: seconds from the command to the first output of each partition, and to the first of any."""

    definitions: int
    first: float
    last: float


@click.command()
@click.option("--definitions", "counts", multiple=True, type=click.IntRange(0), default=(10, 1000), show_default=True,
              help="How many models of 2 kB lie on `parameters`; may be given several times, in growing order.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Starts of each, after one that does not count.")
@report.options
def main(counts: tuple[int, ...], rounds: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure; exits with 1 when the most definitions add more than a second to the median start."""
    with directory(keep) as path, cluster(path) as environment:
        arena = Arena.filled(environment, path, Readings(), READINGS)
        starts = [one for number, count in enumerate(counts) for one in some(arena, number, count, rounds)]
    medians = {count: float(np.median([one.last for one in starts if one.definitions == count])) for count in counts}
    show([{"definitions": f"{one.definitions:,}", "first output, s": f"{one.first:.2f}", "of every partition, s": f"{one.last:.2f}"}
          for one in starts], ["definitions", "first output, s", "of every partition, s"], False, "From `submit` on")
    report.write_json(json_file, starts=starts, medians={str(count): value for count, value in medians.items()}, goal_seconds=GOAL_S)
    if plot:
        draw(plot, starts)
    added = medians[max(counts)] - medians[min(counts)]
    report.verdict([f"{max(counts):,} definitions add {added:.2f} s, not under {GOAL_S}"] if added >= GOAL_S else [])


def some(arena: Arena, number: int, count: int, rounds: int) -> list[Start]:
    """Starts behind `count` definitions; the very first one, for which the cluster has to warm up, does not count."""
    define(arena.environment, count)
    found = [start(arena, f"starts-{count}-{turn}", count) for turn in range(rounds + (number == 0))]
    return found[-rounds:]


def define(environment: Environment, count: int) -> None:
    """Models that nobody asks for, up to `count` of them: what is there already is another one's."""
    signer, namespace = own_signer(environment), environment.job.namespace
    with closing(kafka.producer(environment)) as producer:
        for number in range(count):
            body = secrets.token_bytes(MODEL_BYTES)
            said = Statement("model", namespace, f"idle-{count}-{number}:1", digest_of(body), "benchmark", 1, "", body)
            producer.send(environment.topics.parameters.name, key=said.key.encode(), value=said.encode(signer))
        producer.flush()


def start(arena: Arena, name: str, count: int) -> Start:
    """Submit, wait for output in every partition, and cancel."""
    environment, topic = arena.environment, arena.environment.topics.scores.name
    before, began = measure.ends(environment, topic), time.time() * 1000
    submission = Submission(environment, Deployment(environment.job.namespace, name, "detect", environment.job.parallelism), None)
    submission.submit(str(arena.directory / PLAN), author_of(environment, "benchmark"), "earliest", environment.job.delivery)
    deadline = time.monotonic() + TIMEOUT_S
    while any(end <= before[partition] for partition, end in measure.ends(environment, topic).items()):
        if time.monotonic() > deadline:
            raise ClusterError(f"{name} has no output in some partition")
        time.sleep(0.2)
    cancel(environment, name)
    appended: dict[int, int] = {}
    for message in measure.messages(environment, topic, before, committed=False):
        appended[message.partition] = min(message.appended, appended.get(message.partition, message.appended))
    return Start(count, (min(appended.values()) - began) / 1000, (max(appended.values()) - began) / 1000)


def draw(file: Path, starts: list[Start]) -> None:
    figure = blank(1)
    panel = figure.subplots(1, 1)
    panel.scatter([f"{one.definitions:,}" for one in starts], [one.last for one in starts])
    panel.set(xlabel="definitions", ylabel="seconds from submit to output", ylim=0)
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
