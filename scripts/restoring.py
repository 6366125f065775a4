"""What a job can be started from, and whether it may be: savepoints and checkpoints by their place, or the newest of a deployment."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from swapstream.jobs.spec import JobSpec, check_restorable
from swapstream.models.errors import UnknownName
from swapstream.scripts.checkpoints import checkpoint_or_savepoint, is_checkpoint, is_complete, retained
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.savepoint_files import Saved, Shelf

NAMED = re.compile(r"[0-9a-f]{32}/chk-\d+")


class Restore(msgspec.Struct, frozen=True):
    """State to start from: where it lies, when it was made (s since the epoch; None: not known), and what is written beside it."""

    uri: str
    made: float | None = None
    saved: Saved | None = None

    @property
    def portable(self) -> bool:
        """Whether every state backend can read it. Of a savepoint that was taken by hand that is believed."""
        return self.saved.format == "canonical" if self.saved else not is_checkpoint(self.uri)


def restore_of(environment: Environment, flink: JobOperator, found: Deployment, asked: str) -> Restore:
    """What is meant by a path, a URI, what `savepoints` calls it, or `latest`. Raises UnknownName, ClusterError."""
    shelf = Shelf(environment, found.name)
    if asked != "latest":
        uri = _called(environment, shelf, asked) or checkpoint_or_savepoint(asked)
        return Restore(uri, made(uri), shelf.at(uri))
    jobs = (*found.earlier, *found.job_ids)
    there = [Restore(path.as_uri(), made(path.as_uri())) for path in retained(environment.checkpoints, jobs)]
    there += [Restore(saved.location, saved.taken / 1000, saved) for saved in shelf.every()]
    there += [Restore(uri, when) for uri, when in _remembered(environment, flink, jobs)]
    if not there:
        raise UnknownName(f"--from latest: no checkpoint or savepoint of {found.full_name} is known; "
                          "if there is one, name its directory or URI")  # fmt: skip
    return max(there, key=lambda one: one.made or 0.0)


def _called(environment: Environment, shelf: Shelf, asked: str) -> str | None:
    """A savepoint by its id, a checkpoint by its job and number."""
    path = environment.checkpoints / asked
    saved = next((saved.location for saved in shelf.every() if saved.id == asked), None)
    return saved or (path.as_uri() if NAMED.fullmatch(asked) and is_complete(path) else None)


def made(uri: str) -> float | None:
    """When a savepoint or checkpoint on this machine was complete, s since the epoch."""
    metadata = Path("/" + uri.removeprefix("file:").lstrip("/")) / "_metadata"
    return metadata.stat().st_mtime if uri.startswith("file:") and metadata.is_file() else None


def _remembered(environment: Environment, flink: JobOperator, jobs: Collection[str]) -> list[tuple[str, float]]:
    """The newest checkpoint that somebody else's cluster remembers of the last job, and when it was complete."""
    last = list(jobs)[-1:]
    if not environment.flink.rest or not last or flink.state(last[0]) is None:
        return []
    completed = flink.rest.checkpoints(last[0]).get("latest", {}).get("completed")
    return [(completed["external_path"], completed.get("latest_ack_timestamp", 0) / 1000)] if completed else []


def told_before(environment: Environment, found: Deployment, restore: Restore) -> JobSpec | None:
    """What the job was told that left this state: as written beside it, else what the deployment's last one was told."""
    path = Deployments(environment).spec(found.name)
    return restore.saved.told if restore.saved else JobSpec.read(path) if path.is_file() else None


def check_settings(before: JobSpec | None, after: JobSpec, restore: Restore) -> None:
    """State must fit what a job is told. Raises InvalidSettings."""
    if before:
        check_restorable(before, after, restore.portable)
