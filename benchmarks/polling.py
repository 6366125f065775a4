"""The same change by polling refresh: a model's file is replaced, and each of the rival's workers reloads it when it notices."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import measure
from benchmarks.arena import Arena
from benchmarks.changing import settle
from benchmarks.cluster import RIVAL
from benchmarks.cuts import Change
from benchmarks.processes import Process, started, words
from benchmarks.rivals.job import Job
from benchmarks.rivals.polling_readings import Model, Polling
from swapstream.models.errors import ClusterError

WORKERS = 2
LOOK_S = 1.0
APART_S = 3.0
"""Seconds between changes, on average."""
LEAST_S = 1.5
"""A worker has noticed the last one by then."""
START_S, END_S = 60.0, 120.0
BATCHES = 20
"""What was fed until a moment is among the next that come out."""


def poll(arena: Arena, changes: int) -> list[Change]:
    """Replace the file so often, while telemetry flows; the changes as they were announced. Raises ClusterError."""
    environment, told, log = arena.environment, arena.directory / "polling.json", arena.directory / "polling.log"
    watched = arena.directory / "polled.json"
    write(arena, watched, 0)
    start, before = measure.ends(environment, environment.topics.telemetry.name), measure.ends(environment, RIVAL)
    told.write_bytes(msgspec.json.encode(Polling(job_of(arena), start, str(watched), LOOK_S)))
    commands = [[sys.executable, "-m", "benchmarks.rivals.polling_readings", str(told), str(number)] for number in range(WORKERS)]
    with started(commands, log) as running:
        settle("the polling rival's first scores", lambda: well(running, log) and grown(arena, before), START_S)
        rests = LEAST_S + np.random.default_rng(0).exponential(APART_S - LEAST_S, changes)
        time.sleep(APART_S)
        found = [change(arena, watched, number + 1, rest) for number, rest in enumerate(rests)]
        # Before the processes are ended.
        enough = measure.ends(environment, RIVAL)
        settle("the polling rival's output", lambda: grown(arena, enough, BATCHES), END_S)
    return found


def change(arena: Arena, watched: Path, version: int, rest: float) -> Change:
    """Announce a version, and wait a while."""
    environment = arena.environment
    ends = measure.ends(environment, environment.topics.telemetry.name)
    announced = time.time() * 1000
    write(arena, watched, version)
    time.sleep(rest)
    return Change(version, announced, {partition: end - 1 for partition, end in ends.items()})


def write(arena: Arena, watched: Path, version: int) -> None:
    """Put another version into the file's place, at once."""
    numbers = {name: numbers.tolist() for name, numbers in arena.model.parameters.items()}
    new = watched.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(Model(version, numbers["mean"], numbers["deviation"])))
    os.replace(new, watched)


def job_of(arena: Arena) -> Job:
    environment = arena.environment
    return Job(bootstrap=environment.broker.servers, group="polling", source=environment.topics.telemetry.name, sink=RIVAL, stop={},
               parallelism=WORKERS, threshold=arena.model.manifest.threshold, **arena.workload.told(arena.directory))


def well(running: list[Process], log: Path) -> bool:
    """Raises ClusterError when a process has ended."""
    if any(process.poll() is not None for process in running):
        raise ClusterError(f"the polling rival ended: {words(log)}")
    return True


def grown(arena: Arena, since: measure.Offsets, batches: int = 0) -> bool:
    """Whether every partition has more output than then, by more than so many batches."""
    return all(end > since[partition] + batches for partition, end in measure.ends(arena.environment, RIVAL).items())
