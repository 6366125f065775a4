"""The processes of a local cluster: supervisord, which starts and restarts them, and a sweep for what outlives it."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import xmlrpc.client
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from swapstream.models.errors import ClusterError
from swapstream.scripts.rendering import MARK

AWAY = (OSError, http.client.HTTPException)


class Process(msgspec.Struct, frozen=True):
    """One supervised process. `state` is supervisord's word (RUNNING, STARTING, BACKOFF, …), `uptime` in seconds."""

    name: str
    state: str
    pid: int
    uptime: int
    restarts: int


class Supervisor:
    """supervisord of one cluster directory, by its Unix socket (at most 107 bytes long)."""

    def __init__(self, directory: Path, socket: str) -> None:
        self.directory, self.socket = directory, socket

    def start(self, environment: dict[str, str]) -> None:
        """Start it as a daemon with its programs. Raises ClusterError with its own words."""
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", f"{self.directory}/conf/supervisord.conf"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"supervisord does not start: {(done.stderr or done.stdout).strip().splitlines()[-1]}")

    def processes(self) -> list[Process]:
        """All processes, empty when supervisord is not running."""
        try:
            infos = self._call("supervisor.getAllProcessInfo")
        except (*AWAY, xmlrpc.client.Fault):  # the fault is SHUTDOWN_STATE
            return []
        spawned = self._spawned()
        return [Process(info["name"], info["statename"], info["pid"],
                        info["now"] - info["start"] if info["pid"] else 0, max(0, spawned.get(info["name"], 1) - 1))
                for info in infos]

    def running(self) -> bool:
        return bool(self.processes())

    def shutdown(self, seconds: float = 40.0) -> None:
        """Ask it to stop everything and to end, and wait for that."""
        try:
            process = psutil.Process(self._call("supervisor.getPID"))
            self._call("supervisor.shutdown")
            process.wait(timeout=seconds)
        except (*AWAY, xmlrpc.client.Fault, psutil.Error):
            return

    def _call(self, method: str) -> Any:
        from supervisor.xmlrpc import SupervisorTransport  # takes 0.1 s, and most commands never ask

        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        try:
            return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).__getattr__(method)()
        finally:
            transport.close()

    def _spawned(self) -> dict[str, int]:
        """How often each process was started since supervisord was: only its log tells."""
        log = self.directory / "logs" / "supervisord.log"
        text = log.read_text(errors="replace") if log.is_file() else ""
        counts: dict[str, int] = {}
        for name in re.findall(r"INFO spawned: '([^']+)'", text.rpartition("supervisord started with pid")[2]):
            counts[name] = counts.get(name, 0) + 1
        return counts


def marked(directory: Path) -> list[psutil.Process]:
    """Every process of the cluster in `directory`, by the mark in its environment, but this one and its ancestors."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    others = (process for process in psutil.process_iter() if process.pid not in mine)
    return [process for process in others if _mark(process) == str(directory)]


def _mark(process: psutil.Process) -> str | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK)
    except psutil.Error:
        return None


def sweep(directory: Path) -> list[int]:
    """Kill what is left of the cluster in `directory` (orphaned Python workers, say); returns the pids."""
    left = marked(directory)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    return [process.pid for process in left]


def orphans(directory: Path, supervisor_pid: int) -> list[psutil.Process]:
    """Processes of the cluster whose parent has died: the Python workers of a killed TaskManager, which nobody ends."""
    everything = {process.pid: process for process in marked(directory)}
    alive = {*everything, os.getpid(), supervisor_pid}
    return [process for pid, process in everything.items() if pid != supervisor_pid and _parent(process) not in alive]


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return os.getpid()  # gone meanwhile: counts as having one
