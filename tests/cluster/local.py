"""A real broker and a real Flink cluster, on free ports and in a directory of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.processes import marked

COMMAND = str(Path(sys.executable).with_name("swapstream"))
ENVIRONMENT = """
broker: {port: 0, controller_port: 0}
flink: {rest_port: 0, rpc_port: 0}
"""


class Cluster:
    """A cluster's environment file, and the command line against it."""

    def __init__(self, directory: Path, text: str = ENVIRONMENT) -> None:
        self.directory = directory / "state"
        self.file = directory / "environment.yaml"
        self.file.write_text(f"directory: {self.directory}\n{text}")

    @property
    def environment(self) -> Environment:
        """With the ports that `up` has chosen."""
        return load_environment(str(self.file))

    def run(self, *arguments: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """`swapstream --env FILE ARGUMENTS…`; with `check` its failure fails the test with what it said."""
        done = subprocess.run([COMMAND, "--env", str(self.file), *arguments],
                              capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"{arguments} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def rows(self, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        """What a command prints with --json."""
        return [json.loads(line) for line in self.run(*arguments, "--json", **options).stdout.splitlines()]

    def status(self) -> dict[str, Any]:
        [found] = self.rows("status", check=False)
        return found

    def process(self, name: str) -> dict[str, Any]:
        """A process of `status`, by its name."""
        return next(process for process in self.status()["processes"] if process["name"] == name)

    def processes(self) -> list[psutil.Process]:
        """Every process there is of this cluster, supervised or not."""
        return marked(self.directory)

    def stop(self) -> None:
        """`down`, after which nothing is left."""
        self.run("down")
        assert self.processes() == []
