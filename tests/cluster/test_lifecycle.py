"""`up`, `status`, `topics`, `down`: what runs, what is restarted, what is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from swapstream.scripts.ports import is_free

from .local import ENVIRONMENT, Cluster

pytestmark = pytest.mark.cluster

PROCESSES = ["broker", "jobmanager", "keeper", "taskmanager-1"]
TOPICS = ["telemetry", "parameters", "scores", "features", "anomalies", "dead-letters", "ledger", "labels", "snapshots"]


def eventually(check: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.2)


def kill(cluster: Cluster, name: str) -> int:
    """kill -9; returns the pid that was."""
    pid = int(cluster.process(name)["pid"])
    os.kill(pid, signal.SIGKILL)
    return pid


def test_status_tells_processes_and_topics(running):
    found = running.status()
    assert found["up"] is True
    assert [process["name"] for process in found["processes"]] == PROCESSES
    assert {process["state"] for process in found["processes"]} == {"RUNNING"}
    assert [(row["topic"], row["exists"]) for row in found["topics"]] == [(topic, True) for topic in TOPICS]


def test_up_again_changes_nothing(running):
    before = [process["pid"] for process in running.status()["processes"]]
    running.run("up")
    assert [process["pid"] for process in running.status()["processes"]] == before


def test_topics_have_the_settings_of_their_roles(running):
    rows = {row["role"]: row for row in running.rows("topics")}
    assert rows["parameters"]["settings"]["cleanup.policy"] == "compact"
    assert {row["state"] for row in rows.values()} == {"exists"}
    assert {row["differs"] for row in rows.values()} == {""}


def test_a_topic_that_differs_is_named_and_left_alone(running, tmp_path):
    other = Cluster(tmp_path, ENVIRONMENT + "topics: {labels: {name: labels, partitions: 3}}\n")
    other.directory.mkdir()
    (other.directory / "cluster.json").write_bytes((running.directory / "cluster.json").read_bytes())
    [labels] = [row for row in other.rows("topics") if row["role"] == "labels"]
    assert (labels["partitions"], labels["differs"]) == (1, "1 partitions, not 3")


@pytest.mark.parametrize("name", ["broker", "keeper", "taskmanager-1"])
def test_a_killed_process_comes_back(running, name):
    before = running.process(name)["restarts"]
    pid = kill(running, name)
    eventually(lambda: running.process(name)["pid"] not in (0, pid))
    running.run("up")  # waits until everything answers
    eventually(lambda: running.status()["up"])
    assert running.process(name)["restarts"] == before + 1
    assert len(running.rows("topics")) == len(TOPICS)


def test_an_unknown_deployment_is_one_line_and_an_exit_code(running):
    done = running.run("cancel", "nobody", check=False)
    assert (done.returncode, done.stdout) == (3, "")
    line, rest = done.stderr.split("\n", 1)
    assert line.startswith("swapstream: no deployment 'nobody' in namespace 'prod'; known: ")
    assert rest == ""


def test_down_leaves_nothing_even_with_its_supervisor_killed(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        cluster.run("up")
        servers = cluster.environment.broker.servers
        os.kill(int((cluster.directory / "supervisord.pid").read_text()), signal.SIGKILL)
        assert cluster.status()["up"] is False
        assert cluster.processes() != []
    finally:
        cluster.stop()
    assert cluster.run("status", check=False).returncode == 6
    assert is_free(int(servers.rpartition(":")[2]))


def test_down_where_nothing_runs_is_fine(tmp_path):
    Cluster(tmp_path).run("down")


def test_a_port_that_is_taken_fails_in_one_line_before_anything_starts(running, tmp_path):
    taken = running.environment.broker.port
    other = Cluster(tmp_path, ENVIRONMENT.replace("port: 0, controller", f"port: {taken}, controller", 1))
    done = other.run("up", check=False)
    assert done.returncode == 6
    assert done.stderr.startswith(f"swapstream: port {taken} (broker.port) is in use")
    assert other.processes() == []


@pytest.mark.long
def test_what_does_not_come_up_is_named_with_its_log_and_nothing_is_left(tmp_path):
    text = ENVIRONMENT.replace("rpc_port: 0", "rpc_port: 0, taskmanager_memory: 64m")
    cluster = Cluster(tmp_path, text)
    done = cluster.run("up", check=False)
    assert done.returncode == 6
    log = cluster.directory / "logs" / "taskmanager-1.log"
    assert done.stderr.splitlines()[-1].endswith(f"see {log}")
    assert log.is_file()
    assert cluster.processes() == []


