"""kill -9 in the middle of a run: with exactly_once a read_committed reader sees every record once, and no commit failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import pytest

from swapstream.models.schema import encoder
from swapstream.scripts.processes import Supervisor, marked

from .support import EPOCH_MS, Stand, demo_schema, flowing, readings, wait_until

pytestmark = pytest.mark.cluster

RATE = 2000
PATH, SCHEMA = demo_schema()
FAILED_COMMIT = re.compile(r"Unable to commit transaction|data has been potentially lost")
"""What Flink's KafkaCommitter logs, and then goes on, when a transaction is lost."""


@pytest.fixture(scope="module")
def stand(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    found = Stand(cluster, tmp_path_factory.mktemp("kills"), "kills")
    rows = np.random.default_rng(1).normal(size=(2000, 3 * len(SCHEMA.names)))
    names = (*SCHEMA.names, *(f"{name}.ewm_{kind}" for kind in ("mean", "deviation") for name in SCHEMA.names))
    model = found.train("zscore", 1, rows, names)
    plan = found.plan("plan", PATH, ["identity", {"ewm": {"halflife": 20}}], model)
    found.run("submit", "detect", "--plan", plan, "--delivery", "exactly_once")
    yield found
    found.cancel()


def messages() -> Iterator[tuple[bytes, bytes]]:
    """Readings without end; one in a hundred is none."""
    encode, rows = encoder(SCHEMA), np.random.default_rng(2).normal(size=(1000, len(SCHEMA.names))).tolist()
    for number in count():
        device = f"pump-{number % 50}"
        value = b"none" if number % 100 == 9 else encode(device, EPOCH_MS + number, rows[number % 1000])
        yield device.encode(), value


def python_worker(stand: Stand) -> psutil.Process:
    """One of the TaskManager's Python processes that run shards."""
    return next(p for p in marked(stand.environment.path) if "pyflink.fn_execution.beam.beam_boot" in " ".join(p.cmdline()))


def supervised(name: str) -> Callable[[Stand], psutil.Process]:
    def find(stand: Stand) -> psutil.Process:
        found = Supervisor(stand.environment.path, stand.socket).processes()
        return psutil.Process(next(process.pid for process in found if process.name == name))

    return find


VICTIMS = {"worker": python_worker, "taskmanager": supervised("taskmanager-1"), "jobmanager": supervised("jobmanager")}


@pytest.mark.parametrize("victim", ["worker", "taskmanager", pytest.param("jobmanager", marks=pytest.mark.long)])
def test_every_record_once_whatever_is_killed(stand: Stand, victim: str) -> None:
    before = scored(stand)
    with flowing(stand, messages(), RATE) as enough:
        wait_until(lambda: scored(stand) > before + RATE, 120, "records are scored")
        process = VICTIMS[victim](stand)
        process.kill()
        killed_at = scored(stand)
        wait_until(lambda: scored(stand) > killed_at + 4 * RATE, 240, f"records are scored again after the {victim}'s end")
        enough.set()
    assert not process.is_running(), "it is another process that went on"
    answers = stand.settle(240)
    assert answers.keys() == readings(stand.telemetry()).keys()
    assert [place for place, times in answers.items() if times != 1] == []
    assert failed_commits(stand) == []


def scored(stand: Stand) -> int:
    """How many records a read_committed reader finds in scores."""
    return sum(map(len, stand.frames()))


def failed_commits(stand: Stand) -> list[str]:
    logs = (stand.environment.path / "logs").glob("taskmanager*")
    return [line for log in logs for line in log.read_text(errors="replace").splitlines() if FAILED_COMMIT.search(line)]
