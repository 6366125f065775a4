"""Starting a local cluster: ports and files first, then supervisord, then waiting until everything answers."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import msgspec

from swapstream.models.errors import ClusterError
from swapstream.scripts.console import err
from swapstream.scripts.environment import (
    JARS,
    Environment,
    Recorded,
    declared_environment,
    environment_file,
    record_file,
    recorded,
    with_recorded,
)
from swapstream.scripts.flink_cli import connector, python_jar
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.ports import choose
from swapstream.scripts.processes import Process, Supervisor, sweep
from swapstream.scripts.rendering import flink_home, process_environment, render

PATIENCE = 300.0
"""Seconds that a start may take: some 11 on two cores, 80 were seen where twenty others wanted them."""
LONGEST_SOCKET = 90
"""Unix allows 107 bytes, and supervisord appends its pid while it binds."""


def launch(name: str) -> tuple[Environment, Supervisor]:
    """Start the processes, which are not ready yet; what an earlier cluster left behind is killed. Raises ClusterError."""
    declared = declared_environment(name)
    if not declared.broker.bootstrap and not any(JARS.glob("kafka_*.jar")):
        raise ClusterError(f"the broker's jars are not in {JARS}; run ./scripts/setup")
    sweep(declared.path)
    shutil.rmtree(declared.path / "tmp", ignore_errors=True)
    chosen = msgspec.structs.replace(choose(declared, recorded(declared)), socket=_socket(declared.path))
    environment = with_recorded(declared, chosen)
    _write(environment, environment_file(name), chosen)
    _make_executable(flink_home() / "bin")
    supervisor = Supervisor(environment.path, chosen.socket)
    supervisor.start(process_environment(environment) | ({} if environment.flink.rest else class_path()))
    return environment, supervisor


def wait_until_ready(environment: Environment, supervisor: Supervisor) -> None:
    """Return when the broker listens and all slots are registered. Raises ClusterError naming the log to read."""
    deadline = time.monotonic() + PATIENCE
    with err.status("starting") as shown:
        while True:
            waiting = _not_ready(environment)
            if not waiting:
                return
            shown.update(f"waiting for {' and '.join(waiting)}")
            for process in supervisor.processes():
                _must_be_well(environment, process)
            if time.monotonic() > deadline:
                raise ClusterError(f"{waiting[0]} does not come up within {PATIENCE:.0f} s; see {environment.path}/logs")
            time.sleep(0.1)


def remove_socket(environment: Environment, path: str) -> None:
    """Remove the socket of a supervisord that has ended, with the directory that was made for it alone."""
    Path(path).unlink(missing_ok=True)
    if Path(path).parent != environment.path and Path(path).parent.is_dir():
        Path(path).parent.rmdir()


def class_path() -> dict[str, str]:
    """What every job brings along, for Flink's own processes (conf/flink/config.yaml says why). Flink has a variable for jars that are
    not in its distribution, named after Hadoop's. Raises ClusterError."""
    return {"HADOOP_CLASSPATH": os.pathsep.join(map(str, (connector(), python_jar())))}


def _not_ready(environment: Environment) -> list[str]:
    host, _, port = environment.broker.servers.split(",")[0].rpartition(":")
    waiting = [] if _listens(host, int(port)) else ["the broker"]
    wanted = 0 if environment.flink.rest else environment.flink.taskmanagers * environment.flink.slots
    try:
        slots = FlinkRest(environment.flink.url, timeout=2).overview()["slots-total"]
    except ClusterError:
        return [*waiting, "the JobManager"]
    return waiting if slots >= wanted else [*waiting, f"TaskManagers ({slots} of {wanted} slots)"]


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _must_be_well(environment: Environment, process: Process) -> None:
    if process.state in ("BACKOFF", "FATAL", "EXITED"):
        log = environment.path / "logs" / f"{process.name}.log"
        raise ClusterError(f"{process.name} ended while starting: {_complaint(log)}; see {log}")


def _complaint(log: Path) -> str:
    """The last line of a log that looks like a cause."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    causes = [line for line in lines if "Exception" in line or "rror" in line]
    return (causes or lines or ["it left no log"])[-1].strip()


def _write(environment: Environment, environment_path: Path, chosen: Recorded) -> None:
    for part in ("conf/broker", "conf/flink", "logs", "tmp", "jobs", "checkpoints", "savepoints"):
        (environment.path / part).mkdir(parents=True, exist_ok=True)
    for name, text in render(environment, environment_path, chosen.socket).items():
        (environment.path / "conf" / name).write_text(text)
    record_file(environment).write_bytes(msgspec.json.encode(chosen))


def _socket(directory: Path) -> str:
    path = directory / "supervisor.sock"
    if len(str(path).encode()) <= LONGEST_SOCKET:
        return str(path)
    return str(Path(tempfile.mkdtemp(prefix="swapstream-", dir="/tmp")) / "supervisor.sock")


def _make_executable(scripts: Path) -> None:
    """Flink's scripts call each other, and their packages come without run bits."""
    for script in (*scripts.glob("*.sh"), scripts / "flink"):
        if script.stat().st_mode & 0o111 != 0o111:
            script.chmod(script.stat().st_mode | 0o111)
