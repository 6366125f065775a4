"""A process that reads scores as they come, committed or not, so that nobody else's work makes it late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.beside import SPAWNED, Beside
from benchmarks.latency import arrivals
from benchmarks.measure import Offsets
from swapstream.operators.frame import Float64, Int64
from swapstream.scripts.environment import Environment

PATIENCE_S = 60.0


class Heard(msgspec.Struct, frozen=True):
    """Of each reading: `due` [n], when it was to be produced, in ms since the epoch; `waited` [n] ms from then to its score."""

    due: Float64
    waited: Float64


class Listener(Beside):
    """Listens since `before`, to what is `committed` or to all; `heard` ends it."""

    def __init__(self, environment: Environment, before: Offsets, file: Path, committed: bool = False) -> None:
        self._enough, self._file = SPAWNED.Event(), file
        super().__init__(listen, environment, before, str(file), committed, self._enough)

    def heard(self) -> Heard:
        """Everything until now. Raises ChildProcessError when the process has failed."""
        self._enough.set()
        self.process.join(PATIENCE_S)
        if self.process.exitcode != 0:
            raise ChildProcessError(f"the listener ended with {self.process.exitcode}")
        with np.load(self._file) as columns:
            return Heard(columns["due"] / 1e3, (columns["arrived"] - columns["due"]) / 1e3)


def listen(environment: Environment, before: Offsets, file: str, committed: bool, enough: Any) -> None:
    """What the process does: when each reading's score arrived, and was due, in microseconds."""
    arrived: list[Int64] = []
    due: list[Int64] = []
    for now, columns in arrivals(environment, before, committed):
        if columns is not None:
            due.append(columns)
            arrived.append(np.full(len(columns), now))
        if enough.is_set():
            break
    empty = [np.zeros(0, np.int64)]
    np.savez(file, due=np.concatenate(due or empty), arrived=np.concatenate(arrived or empty))
