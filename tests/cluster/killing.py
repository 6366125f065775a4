"""Whom tests kill, and what must be so afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psutil

from swapstream.scripts.processes import Supervisor, marked

from .support import Stand, readings

FAILED_COMMIT = re.compile(r"Unable to commit transaction|data has been potentially lost")
"""What Flink's KafkaCommitter logs, and then goes on, when a transaction is lost."""


def python_worker(stand: Stand) -> psutil.Process:
    """One of them."""
    return next(python_workers(stand))


def python_workers(stand: Stand) -> Iterator[psutil.Process]:
    """The TaskManager's Python processes that run shards."""
    return (p for p in marked(stand.environment.path) if "pyflink.fn_execution.beam.beam_boot" in " ".join(p.cmdline()))


def supervised(name: str) -> Callable[[Stand], psutil.Process]:
    def find(stand: Stand) -> psutil.Process:
        found = Supervisor(stand.environment.path, stand.socket).processes()
        return psutil.Process(next(process.pid for process in found if process.name == name))

    return find


VICTIMS = {"worker": python_worker, "taskmanager": supervised("taskmanager-1"), "jobmanager": supervised("jobmanager")}


def scored(stand: Stand) -> int:
    """How many records a read_committed reader finds in scores."""
    return sum(map(len, stand.frames()))


def failed_commits(stand: Stand) -> list[str]:
    logs = (stand.environment.path / "logs").glob("taskmanager*")
    return [line for log in logs for line in log.read_text(errors="replace").splitlines() if FAILED_COMMIT.search(line)]


def once_each(stand: Stand) -> None:
    """Every reading is answered once, and each frame goes on where the one before ended."""
    answers = stand.settle(240)
    assert answers.keys() == readings(stand.telemetry()).keys()
    assert [place for place, times in answers.items() if times != 1] == []
    assert failed_commits(stand) == []
    ends: dict[int, int] = {}
    for frame in stand.frames():
        partition = frame.provenance.partition
        assert frame.prev == ends.get(partition, -1)
        ends[partition] = frame.last
