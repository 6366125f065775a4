"""What should be running: one file a deployment in <directory>/jobs, written by `submit`, `cancel` and `upgrade`, kept by the keeper.

NAMESPACE.NAME.json is a deployment's record, NAMESPACE.NAME.spec.json what its job is told. During an upgrade `.green.json` and
`.green.spec.json` are the same of the job that is to take over, and `.upgrade.json` tells how far it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from swapstream.models.errors import Conflict, InvalidSettings, UnknownName
from swapstream.scripts.environment import Environment
from swapstream.scripts.locks import locked, locked_at_once

T = TypeVar("T")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}")


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named running job.

    - job_ids: those of its last submission, the newest last: each time the keeper brings it back it is a new Flink job. earlier:
      those of the submissions before.
    - origin: what state its last submission began with; until one of `job_ids` has a checkpoint, that is where it is resumed.
    - bundle: the directory of the bundle that it is sent with, if it is.
    - generation: which submission this is; generations: the highest that was given out. line: which sinks it writes with.
    - green: the job that is to take over, during an upgrade.
    """

    namespace: str
    name: str
    job: str
    parallelism: int
    desired: Literal["running", "stopped"] = "running"
    job_ids: tuple[str, ...] = ()
    bundle: str | None = None
    earlier: tuple[str, ...] = ()
    origin: str | None = None
    generation: int = 0
    generations: int = 0
    line: int = 0
    green: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}"

    @property
    def job_id(self) -> str:
        """The newest Flink job's; "" before the first submission."""
        return self.job_ids[-1] if self.job_ids else ""

    def with_job(self, job_id: str) -> Deployment:
        """Brought back: one Flink job more."""
        return msgspec.structs.replace(self, job_ids=(*self.job_ids, job_id), desired="running")

    def submitted(self, job_id: str, origin: str | None = None) -> Deployment:
        """A new submission, from some state or from none."""
        return msgspec.structs.replace(self, job_ids=(job_id,), earlier=(*self.earlier, *self.job_ids), origin=origin, desired="running")

    def stopped(self) -> Deployment:
        return msgspec.structs.replace(self, desired="stopped")


class Deployments:
    """All deployments of an environment. Whoever changes one holds its lock meanwhile."""

    def __init__(self, environment: Environment) -> None:
        self.directory, self.namespace = environment.jobs, environment.job.namespace

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Held as long as it takes to change a record, or to submit."""
        return locked(self.path(name, ".lock"))

    def upgrading(self, name: str) -> AbstractContextManager[None]:
        """Held for as long as an upgrade takes. Raises Conflict at once when somebody else holds it."""
        busy = Conflict(f"an upgrade of {self.namespace}.{name} is under way already, in another process: wait for its end")
        return locked_at_once(self.path(name, ".upgrade.lock"), busy)

    def spec(self, name: str, green: bool = False) -> Path:
        """Where the job specification of a deployment is."""
        return self.path(name, f"{_color(green)}.spec.json")

    def path(self, name: str, ending: str) -> Path:
        """A deployment's file of some kind."""
        return self.directory / f"{self.namespace}.{name}{ending}"

    def find(self, name: str, green: bool = False) -> Deployment | None:
        try:
            return self._read(self.path(name, f"{_color(green)}.json"))
        except FileNotFoundError:
            return None

    def require(self, name: str, green: bool = False) -> Deployment:
        """Raises UnknownName."""
        found = self.find(name, green)
        if found is None:
            known = ", ".join(deployment.name for deployment in self) or "none"
            raise UnknownName(f"no deployment {name!r} in namespace {self.namespace!r}; known: {known}")
        return found

    def save(self, deployment: Deployment) -> None:
        """Atomic: a reader sees the old file or the new one."""
        write(self.path(deployment.name, f"{_color(deployment.green)}.json"), deployment)

    def next_generation(self, name: str) -> int:
        """A generation that no job has had, marked as given out. Raises UnknownName."""
        with self.lock(name):
            found = self.require(name)
            number = max(found.generation, found.generations) + 1
            self.save(msgspec.structs.replace(found, generations=number))
        return number

    def promote(self, name: str) -> None:
        """The green job becomes the deployment's. Doing it once more, or where there is none, changes nothing."""
        with self.lock(name):
            green, main = self.find(name, green=True), self.require(name)
            if green is None:
                return
            earlier = main.earlier if main.job_ids == green.job_ids else (*main.earlier, *main.job_ids)
            given = max(main.generations, green.generation)
            self.save(msgspec.structs.replace(green, green=False, desired="running", earlier=earlier, generations=given))
            if self.spec(name, green=True).is_file():
                self.spec(name, green=True).replace(self.spec(name))
            self.path(name, ".green.json").unlink()

    def remove(self, name: str) -> None:
        """Forget a deployment that was for one run."""
        with self.lock(name):
            self.path(name, ".json").unlink(missing_ok=True)
            self.spec(name).unlink(missing_ok=True)

    def drop_green(self, name: str) -> None:
        """Forget the green job; nobody brings it back then."""
        with self.lock(name):
            self.path(name, ".green.json").unlink(missing_ok=True)
            self.spec(name, green=True).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Deployment]:
        """Without green ones."""
        return (deployment for deployment in self.every() if not deployment.green)

    def every(self) -> Iterator[Deployment]:
        """Green ones as well."""
        for path in sorted(self.directory.glob(f"{self.namespace}.*.json")):
            name = path.name.removeprefix(f"{self.namespace}.").removesuffix(".json").removesuffix(".green")
            if NAME.fullmatch(name):
                with suppress(FileNotFoundError):  # it was forgotten meanwhile
                    yield self._read(path)

    def _read(self, path: Path) -> Deployment:
        return read(path, Deployment)


def _color(green: bool) -> str:
    return ".green" if green else ""


def write(path: Path, content: msgspec.Struct) -> None:
    """A file of JSON, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f"{path.name}.{os.getpid()}")
    written.write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    written.replace(path)


def read(path: Path, kind: type[T]) -> T:
    """Raises FileNotFoundError, InvalidSettings."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise InvalidSettings(f"{path}: {error}") from error


def check_name(name: str) -> str:
    """Raises InvalidSettings: the name is part of file names, consumer groups and transactional ids."""
    if not NAME.fullmatch(name):
        raise InvalidSettings(f"deployment {name!r}: letters, digits, - and _ are allowed, up to 100")
    return name
