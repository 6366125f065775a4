"""Finding and ending the processes of a cluster by their mark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from swapstream.scripts.processes import Supervisor, marked, orphans, sweep
from swapstream.scripts.rendering import MARK

SLEEP = "import time; time.sleep(60)"
PARENT = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path):
    """Start a marked Python process; whatever is left at the end is killed."""
    started = []

    def start(code: str, directory: Path = tmp_path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, MARK: str(directory)},
                                   stdout=subprocess.PIPE, text=True)
        started.append((process, directory))
        return process

    yield start
    for process, directory in started:
        sweep(directory)
        process.wait()
        process.stdout.close()


def test_a_sweep_ends_the_clusters_own_and_nothing_else(start, tmp_path):
    mine, other = start(SLEEP), start(SLEEP, tmp_path / "other")
    assert [process.pid for process in marked(tmp_path)] == [mine.pid]
    assert sweep(tmp_path) == [mine.pid]
    assert not psutil.pid_exists(mine.pid)
    assert other.poll() is None
    assert sweep(tmp_path) == []


def test_a_child_whose_parent_died_is_an_orphan(start, tmp_path):
    parent = start(PARENT)
    child = int(parent.stdout.readline())
    this = os.getpid()  # stands in for supervisord
    assert orphans(tmp_path, supervisor_pid=this) == []
    parent.kill()
    parent.wait()
    assert [process.pid for process in orphans(tmp_path, supervisor_pid=this)] == [child]
    assert psutil.pid_exists(child)


def test_a_supervisor_that_is_not_there_has_no_processes(tmp_path):
    supervisor = Supervisor(tmp_path, str(tmp_path / "none.sock"))
    assert supervisor.processes() == []
    assert not supervisor.running()
    supervisor.shutdown()
