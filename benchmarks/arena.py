"""What candidates are given to work on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks import measure
from benchmarks.cluster import RIVAL
from benchmarks.measure import Offsets, Output
from benchmarks.rivals.job import Job
from benchmarks.workload import Workload, fill, spread
from swapstream.models.artifact import Artifact
from swapstream.scripts.environment import Environment


class Arena(msgspec.Struct, frozen=True):
    """A running cluster, telemetry filled up to `ends` with messages of `size` bytes, and the workload's files in
    `directory`."""

    environment: Environment
    directory: Path
    workload: Workload
    model: Artifact
    ends: Offsets
    size: float

    @classmethod
    def filled(cls, environment: Environment, directory: Path, workload: Workload, readings: int) -> Arena:
        """Write the workload's files and model, and fill telemetry."""
        workload.write(directory)
        model = workload.train(environment.store, directory)
        (directory / "model").write_bytes(model.encode())
        size = fill(environment, workload, readings)
        ends = measure.ends(environment, environment.topics.telemetry.name)
        return cls(environment, directory, workload, model, ends, size)

    @property
    def readings(self) -> int:
        """How many lie in telemetry."""
        return sum(self.ends.values()) * self.workload.per_message

    def job(self, run: str, readings: int, settings: dict[str, str] | None = None, addresses: Sequence[str] = ()) -> Path:
        """What a rival is told, in a file. It gets the first part of each partition, so that a slow one ends in minutes."""
        environment, defaults, file = self.environment, self.environment.job, self.directory / f"{run}.json"
        numbers = {name: numbers.tolist() for name, numbers in self.model.parameters.items()}
        Job(bootstrap=environment.broker.servers, group=run, source=environment.topics.telemetry.name, sink=RIVAL,
            stop=spread(self.ends, readings / self.readings), parallelism=defaults.parallelism, settings=settings or {},
            directory=str(self.directory / run), addresses=list(addresses), checkpoint_ms=defaults.checkpoint_ms,
            threshold=self.model.manifest.threshold, **numbers, **self.workload.told(self.directory)).write(file)
        return file


class Candidate(Protocol):
    """One way to do the work. `readings` of them are enough; what can't be told to stop is ended when it has done so many."""

    name: str
    readings: int

    def run(self, arena: Arena, run: str) -> Output:
        """Read telemetry from its beginning and return all scores. `run` names this run and no other. Raises ClusterError."""
