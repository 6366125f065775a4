"""Savepoints of deployments: where they lie, and the small JSON file beside each that tells what it holds."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Literal

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.operators.plan import Plan
from swapstream.scripts.deployments import Deployment, read, write
from swapstream.scripts.environment import Environment

VERSION = 1
Format = Literal["canonical", "native"]


class Held(msgspec.Struct, frozen=True):
    """What devices of a schema have state of: the schema and the extractor with the version of its code."""

    schema: str
    extractor: str
    version: str

    def __str__(self) -> str:
        return f"{self.extractor} {self.version}"


class Saved(msgspec.Struct, frozen=True):
    """A savepoint.

    - location: its directory, as a URI. taken: when (ms). format: canonical is read by every state backend, native by its own.
    - told: what its job was told at submit. epoch, plan: what was in force when it was asked for.
    - stopped: it was the job's end.
    """

    id: str
    location: str
    job_id: str
    taken: int
    format: Format
    told: JobSpec
    epoch: int
    plan: str
    plan_digest: str
    held: tuple[Held, ...]
    stopped: bool = False
    who: str = ""
    why: str = ""
    v: int = VERSION

    @property
    def directory(self) -> Path | None:
        """Where it lies on this machine, None for one that lies elsewhere."""
        return Path("/" + self.location.removeprefix("file:").lstrip("/")) if self.location.startswith("file:") else None

    @property
    def size(self) -> int | None:
        """Bytes; None where that can't be seen from here."""
        if self.directory is None or not self.directory.is_dir():
            return None
        return sum(file.stat().st_size for file in self.directory.rglob("*") if file.is_file())

    @property
    def age(self) -> float:
        """Seconds."""
        return max(0.0, time.time() - self.taken / 1000)


def held_by(plan: Plan) -> tuple[Held, ...]:
    """What the state of a plan's shards consists of."""
    return tuple(Held(str(one.schema), "+".join(map(_name, one.extractor)), one.extractor_version) for one in plan.inputs)


def _name(extractor: object) -> str:
    """Of a canonical spec: a name, or a map from that to settings."""
    if isinstance(extractor, dict):
        return str(next(iter(extractor)))
    return str(extractor)


class Shelf:
    """The savepoints of one deployment."""

    def __init__(self, environment: Environment, deployment: str) -> None:
        self._name = f"{environment.job.namespace}.{deployment}"
        self._files = environment.path / "savepoints" / self._name
        self._elsewhere, self._checkpoints = bool(environment.flink.rest), environment.flink.checkpoints

    @property
    def here(self) -> bool:
        """Whether savepoints lie on this machine."""
        return not self._elsewhere

    def clear(self, id: str) -> None:
        """Delete whatever was written below a `target` on this machine."""
        shutil.rmtree(self._files / id, ignore_errors=True)

    def target(self, id: str) -> str | None:
        """Below which URI Flink is to write a savepoint; None: where its own configuration says."""
        if not self._elsewhere:
            return (self._files / id).as_uri()
        return f"{self._checkpoints.rstrip('/')}/savepoints/{self._name}/{id}" if self._checkpoints else None

    def complete(self, id: str) -> str | None:
        """The URI of a savepoint on this machine that was written below its `target`, if it is whole."""
        found = [file.parent for file in (self._files / id).glob("*/_metadata") if file.stat().st_size > 0]
        return found[0].as_uri() if found else None

    def save(self, saved: Saved) -> None:
        write(self._files / f"{saved.id}.json", saved)

    def discard(self, location: str) -> None:
        """Delete one that nobody will need, and what tells of it; one that lies elsewhere stays, and so does what is not known."""
        saved = self.at(location) if location else None
        if saved and saved.directory:
            self.clear(saved.id)
            (self._files / f"{saved.id}.json").unlink(missing_ok=True)

    def every(self) -> list[Saved]:
        """Those whose files are there, the newest first. Raises InvalidSettings."""
        found = [read(path, Saved) for path in self._files.glob("*.json")]
        there = [saved for saved in found if saved.directory is None or (saved.directory / "_metadata").is_file()]
        return sorted(there, key=lambda saved: saved.taken, reverse=True)

    def at(self, location: str) -> Saved | None:
        """The one that lies there."""
        return next((saved for saved in self.every() if same_place(saved.location, location)), None)


def same_place(one: str, other: str) -> bool:
    """Whether two URIs name the same directory: Flink writes file:/a, Python file:///a."""
    return _plain(one) == _plain(other)


def _plain(uri: str) -> str:
    return "/" + uri.removeprefix("file:").strip("/") if uri.startswith("file:") else uri.rstrip("/")


def new_id(deployment: Deployment) -> str:
    """Of a savepoint that is to be taken now; they sort by age."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{deployment.generation}-{deployment.job_id[:6]}"
