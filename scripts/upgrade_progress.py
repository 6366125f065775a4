"""How far an upgrade of a deployment is: one small file, written before each step acts, so that whoever runs the command again after an
interruption can finish it or undo it."""

from __future__ import annotations

from typing import Literal

import msgspec

from swapstream.models.errors import Conflict
from swapstream.scripts.deployments import Deployments, read, write

VERSION = 1
Mode = Literal["savepoint", "handover"]


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upgrade under way.

    - step: the one that was being done when this was written; each mode has its own.
    - plan, epoch: what the new job runs, and the epoch in which it begins that. plan_before, based_on: what was in force, and its epoch.
    - generation, job_id: the new job's; predecessor, job_before: those of the job that it takes over from.
    - directory: where the savepoint is to lie; savepoint: where it lies, once it is complete.
    - trigger: Flink's id of the request for it. released: when (ms) the new job was let write, 0: it was not.
    - hands_off: the keeper leaves the deployment's jobs alone, since the upgrade decides which of them is to run.
    - started: when (ms), by whom and why.
    """

    namespace: str
    deployment: str
    mode: Mode
    step: str
    plan: str
    epoch: int
    plan_before: str
    based_on: int
    generation: int
    predecessor: int
    job_id: str
    job_before: str
    started: int
    directory: str = ""
    savepoint: str = ""
    trigger: str = ""
    released: int = 0
    hands_off: bool = False
    who: str = ""
    why: str = ""
    v: int = VERSION

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.deployment}"

    def at(self, step: str, **known: str | int | bool) -> Progress:
        """At a later step, knowing more."""
        return msgspec.structs.replace(self, step=step, **known)  # type: ignore[arg-type]


class ProgressFile:
    """Where a deployment's progress is kept. Whoever writes it holds `Deployments.upgrading`."""

    def __init__(self, deployments: Deployments, name: str) -> None:
        self._path, self._whose = deployments.path(name, ".upgrade.json"), f"{deployments.namespace}.{name}"

    def find(self) -> Progress | None:
        """None where no upgrade is under way. Raises InvalidSettings."""
        try:
            return read(self._path, Progress)
        except FileNotFoundError:
            return None

    def save(self, progress: Progress) -> Progress:
        """Atomic; returns what was saved."""
        write(self._path, progress)
        return progress

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def refuse_any(self) -> None:
        """For what may not be done meanwhile. Raises Conflict."""
        found = self.find()
        if found:
            raise Conflict(
                f"an upgrade of {self._whose} ({found.mode}) is at its step {found.step!r}: wait for its end; if it was interrupted, "
                f"`swapstream upgrade {found.deployment}` finishes it, and `--abort` undoes it"
            )


def under_way(deployments: Deployments) -> list[str]:
    """A line about each upgrade that has not come to its end."""
    found = [ProgressFile(deployments, deployment.name).find() for deployment in deployments]
    return [f"an upgrade of {one.full_name} by {one.mode} is at its step {one.step!r}; if it was interrupted, `swapstream upgrade "
            f"{one.deployment}` finishes it" for one in found if one]  # fmt: skip
