"""What should be running: one file a deployment in <directory>/jobs, written by `submit` and `cancel`, kept by the keeper."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.scripts.environment import Environment
from swapstream.scripts.locks import locked

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}")


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named running job. `job_ids` are those it has had, the newest last: each resubmission is a new Flink job.

    `bundle`: the directory of the bundle that it is sent with, if it is.
    """

    namespace: str
    name: str
    job: str
    parallelism: int
    desired: Literal["running", "stopped"] = "running"
    job_ids: tuple[str, ...] = ()
    bundle: str | None = None

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}"

    def with_job(self, job_id: str) -> Deployment:
        return msgspec.structs.replace(self, job_ids=(*self.job_ids, job_id), desired="running")

    def stopped(self) -> Deployment:
        return msgspec.structs.replace(self, desired="stopped")


class Deployments:
    """All deployments of an environment. Whoever changes one holds its lock meanwhile."""

    def __init__(self, environment: Environment) -> None:
        self.directory, self.namespace = environment.jobs, environment.job.namespace

    def lock(self, name: str) -> AbstractContextManager[None]:
        return locked(self._path(name, ".lock"))

    def spec(self, name: str) -> Path:
        """Where the job specification of a deployment is."""
        return self._path(name, ".spec.json")

    def find(self, name: str) -> Deployment | None:
        try:
            return self._read(self._path(name, ".json"))
        except FileNotFoundError:
            return None

    def require(self, name: str) -> Deployment:
        """Raises UnknownName."""
        found = self.find(name)
        if found is None:
            known = ", ".join(deployment.name for deployment in self) or "none"
            raise UnknownName(f"no deployment {name!r} in namespace {self.namespace!r}; known: {known}")
        return found

    def save(self, deployment: Deployment) -> None:
        """Atomic: a reader sees the old file or the new one."""
        path = self._path(deployment.name, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f"{path.name}.{os.getpid()}")
        written.write_bytes(msgspec.json.format(msgspec.json.encode(deployment)))
        written.replace(path)

    def __iter__(self) -> Iterator[Deployment]:
        for path in sorted(self.directory.glob(f"{self.namespace}.*.json")):
            if not path.name.endswith(".spec.json"):
                yield self._read(path)

    def _path(self, name: str, ending: str) -> Path:
        return self.directory / f"{self.namespace}.{name}{ending}"

    def _read(self, path: Path) -> Deployment:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Deployment)
        except msgspec.DecodeError as error:
            raise InvalidSettings(f"{path}: {error}") from error


def check_name(name: str) -> str:
    """Raises InvalidSettings: the name is part of file names, consumer groups and transactional ids."""
    if not NAME.fullmatch(name):
        raise InvalidSettings(f"deployment {name!r}: letters, digits, - and _ are allowed, up to 100")
    return name
