"""Starting and stopping jobs: what the rest of Swapstream knows of it, whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import Client, FlinkCommandLine
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.kubernetes import KubernetesJobs


class JobOperator(Protocol):
    """Jobs of one environment. Each has an id, chosen before it is started. Methods raise ClusterError with a line that tells why.

    `rest` is Flink's own interface, for all that is asked of a running job: savepoints with or without its end, checkpoints.
    """

    rest: FlinkRest

    def arguments(self, job: str, spec: Path, parallelism: int, job_id: str, restore: str | Path | None = None,
                  bundle: Path | None = None, leave_sinks: bool = False, code: Sequence[str] | None = None) -> list[str]:  # fmt: skip
        """The command that starts a job: `restore` is the URI of the state to begin from, or a file in which there will be one; `code`
        digests of users' code that is sent along, None: those that the specification names. Changes nothing.

        Raises UnknownName, InvalidSettings.
        """

    def shell_line(self, arguments: list[str]) -> str:
        """The command as it could be typed."""

    def run(self, arguments: list[str]) -> None:
        """Start a job, and return when it is taken; its tasks may not run yet."""

    def start(self, arguments: list[str]) -> Client:
        """Begin to start a job."""

    def state(self, job_id: str) -> str | None:
        """In Flink's words; None of a job that is not known."""

    def states(self) -> dict[str, str]:
        """Of every job that is known, by its id."""

    def free_slots(self) -> int: ...

    def is_running(self, job_id: str) -> bool:
        """Whether every task runs, so that records are read. Raises ClusterError when the job has ended instead."""

    def cancel(self, job_id: str, seconds: float = 60.0) -> None:
        """End a job and wait for that; its checkpoints stay. One that has ended or is not known is left alone."""


OPERATORS: dict[str, Callable[[Environment], JobOperator]] = {"command": FlinkCommandLine, "kubernetes": KubernetesJobs}


def job_operator(environment: Environment) -> JobOperator:
    """The one that the environment names."""
    return OPERATORS[environment.flink.operator](environment)
