"""A Flink cluster as somebody else would start it: Flink's own scripts, a folder of its own, and nothing of ours in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from swapstream.models.errors import ClusterError
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.launch import PATIENCE
from swapstream.scripts.ports import free_ports
from swapstream.scripts.rendering import flink_home, java_options


class FlinkByHand:
    """A JobManager and a TaskManager after `start`. They have Java, a bare PATH, `variables`, and no Python of their own."""

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        self.home = home
        self.processes: list[subprocess.Popen[bytes]] = []
        self.rest, self.rpc = free_ports(2)
        self.environment = {"PATH": "/usr/bin:/bin", "FLINK_CONF_DIR": f"{home}/conf", "FLINK_LOG_DIR": f"{home}/log",
                            "JAVA_HOME": str(_java_home()), **variables}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest}"

    def start(self) -> None:
        for part in ("bin", "lib", "conf", "log", "tmp"):
            (self.home / part).mkdir(parents=True)
        for script in (flink_home() / "bin").iterdir():
            shutil.copy(script, self.home / "bin")
            (self.home / "bin" / script.name).chmod(0o755)
        for jar in (flink_home() / "lib").iterdir():
            (self.home / "lib" / jar.name).symlink_to(jar)
        shutil.copy(flink_home() / "conf" / "log4j-console.properties", self.home / "conf")
        (self.home / "conf" / "config.yaml").write_bytes(msgspec.yaml.encode(self._configuration()))
        self.processes = [self._process("jobmanager"), self._process("taskmanager")]
        deadline = time.monotonic() + PATIENCE
        while self._slots() < 2:
            assert time.monotonic() < deadline, self.log("taskmanager")[-3000:]
            assert all(process.poll() is None for process in self.processes), self.log("jobmanager")[-3000:]
            time.sleep(0.2)

    def stop(self) -> None:
        """The processes and what they started."""
        for process in self.processes:
            children = self._below(process)
            process.kill()
            process.wait()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def log(self, name: str) -> str:
        return (self.home / "log" / f"{name}.out").read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The Python processes that run functions."""
        return [child for process in self.processes for child in self._below(process) if "python" in child.name()]

    def _below(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):  # it may have ended while starting
            return psutil.Process(process.pid).children(recursive=True)
        return []

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        with (self.home / "log" / f"{name}.out").open("wb") as log:
            return subprocess.Popen([self.home / "bin" / f"{name}.sh", "start-foreground"], env=self.environment, cwd="/",
                                    stdout=log, stderr=log)

    def _slots(self) -> int:
        try:
            return int(FlinkRest(self.url).overview()["slots-total"])
        except ClusterError:
            return 0

    def _configuration(self) -> dict[str, object]:
        loopback = {f"{key}": "127.0.0.1" for key in ("jobmanager.rpc.address", "jobmanager.bind-host", "rest.address",
                                                      "rest.bind-address", "taskmanager.host", "taskmanager.bind-host")}
        return {**loopback, "env.java.opts.all": java_options(), "jobmanager.rpc.port": self.rpc, "rest.port": self.rest,
                "rest.bind-port": str(self.rest), "jobmanager.memory.process.size": "1024m",
                "taskmanager.memory.process.size": "2048m", "taskmanager.numberOfTaskSlots": 2,
                "execution.checkpointing.dir": f"file://{self.home}/checkpoints", "io.tmp.dirs": f"{self.home}/tmp",
                # A TaskManager ends when that takes longer than 10 s, and here nobody starts it again.
                "pekko.startup-timeout": "180s"}


def _java_home() -> Path:
    """Where the java on PATH is: with a bare PATH Flink's scripts would not find it."""
    return Path(os.environ.get("JAVA_HOME") or Path(str(shutil.which("java"))).resolve().parents[1])
