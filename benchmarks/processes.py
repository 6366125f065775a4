"""The candidates that are plain processes: the bare loop, Bytewax and Quix Streams."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import bare, measure
from benchmarks.arena import Arena
from benchmarks.cluster import RIVAL
from benchmarks.measure import Offsets, Output
from benchmarks.venvs import python_of
from benchmarks.workload import SCHEMA
from swapstream.models.errors import ClusterError
from swapstream.scripts.ports import free_ports

Process = subprocess.Popen[bytes]

TIMEOUT_S = 600.0
STOP_S = 30.0
BATCH = 5_000
"""Readings the bare loop scores at a time."""


class Bare:
    """The bare limit: bare.py on all readings, since it could not be told where to stop without slowing it down."""

    name = "bare loop"

    def __init__(self, readings: int) -> None:
        self.readings = readings

    def run(self, arena: Arena, run: str) -> Output:
        job, result = arena.directory / f"{run}.json", arena.directory / f"{run}.npz"
        batch = max(1, BATCH // arena.workload.per_message)
        job.write_bytes(msgspec.json.encode(bare.Job(
            arena.environment.broker.servers, arena.environment.topics.telemetry.name, arena.ends,
            str(arena.directory / SCHEMA), arena.workload.extractor, str(arena.directory / "model"), batch)))
        command = [sys.executable, "-m", "benchmarks.bare", str(job), str(result)]
        with started([command], arena.directory / f"{run}.log") as [process]:
            process.wait(TIMEOUT_S)
        if process.returncode:
            raise ClusterError(f"{self.name} failed: {words(arena.directory / f'{run}.log')}")
        with np.load(result) as columns:
            return Output(columns["appended"], columns["times"] // 1000, columns["scores"])


class Rival:
    """A program in benchmarks/rivals/ in an environment of its own, `processes` of it side by side."""

    def __init__(self, name: str, readings: int, environment: str, processes: int) -> None:
        self.name, self.readings, self.environment, self.processes = name, readings, environment, processes

    def run(self, arena: Arena, run: str) -> Output:
        python, module = python_of(self.environment), f"benchmarks.rivals.{self.environment}_readings"
        job = arena.job(run, self.readings, addresses=[f"127.0.0.1:{port}" for port in free_ports(self.processes)])
        before = measure.ends(arena.environment, RIVAL)
        commands = [[str(python), "-m", module, str(job), str(number)] for number in range(self.processes)]
        with started(commands, arena.directory / f"{run}.log") as running:
            if not self._enough(arena, before, running):
                raise ClusterError(f"{self.name} ended or came to a halt: {words(arena.directory / f'{run}.log')}")
        return measure.collect(arena.environment, RIVAL, before, measure.single)

    def _enough(self, arena: Arena, before: Offsets, running: list[Process]) -> bool:
        """Wait until enough came out, or the processes have ended because telemetry did."""
        deadline = time.monotonic() + TIMEOUT_S
        while measure.grown(arena.environment, RIVAL, before) < self.readings:
            if all(process.poll() == 0 for process in running):
                return True
            if any(process.poll() for process in running) or time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True


@contextmanager
def started(commands: list[list[str]], log: Path) -> Iterator[list[Process]]:
    """Processes side by side, asked to end on the way out, and killed when they don't."""
    with log.open("wb") as file:
        running = [subprocess.Popen(command, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
                   for command in commands]
        try:
            yield running
        finally:
            for process in running:
                process.terminate()
            for process in running:
                _end(process)


def _end(process: Process) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def words(log: Path) -> str:
    """The last line of a log."""
    return (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
