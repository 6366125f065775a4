"""Finding what a lost job can be resumed from: the newest complete checkpoint on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from swapstream.models.errors import ClusterError
from swapstream.scripts.deployments import Deployment

CHECKPOINT = re.compile(r"chk-(\d+)")


def newest_checkpoint(directory: Path, job_ids: Iterable[str]) -> Path | None:
    """The last complete checkpoint of the last of the jobs (given in the order in which they ran) that has one.

    A checkpoint is complete once `_metadata` is there: Flink renames it into place when every operator has answered. Its
    transactions need not have been committed yet; a restore from it commits them.
    """
    for job_id in reversed(list(job_ids)):
        complete = retained(directory, [job_id])
        if complete:
            return max(complete, key=_number)
    return None


def retained(directory: Path, job_ids: Iterable[str]) -> list[Path]:
    """Every complete checkpoint of some jobs."""
    return [path for job_id in job_ids for path in (directory / job_id).glob("chk-*") if is_complete(path)]


def resumable(directory: Path, deployment: Deployment) -> str | None:
    """What a lost job of a deployment goes on from: its newest checkpoint, or what its submission began with. A URI; None: its start."""
    found = newest_checkpoint(directory, deployment.job_ids)
    return found.as_uri() if found else deployment.origin


def is_complete(path: Path) -> bool:
    """Whether a checkpoint's or savepoint's directory can be restored from."""
    metadata = path / "_metadata"
    return metadata.is_file() and metadata.stat().st_size > 0 and (_number(path) >= 0 or not path.name.startswith("chk-"))


def checkpoint_or_savepoint(path: str) -> str:
    """What a user named, as a URI: a directory here, as a path or a file: URI, must be complete. Raises ClusterError."""
    if "://" in path and not path.startswith("file://"):
        return path
    found = Path(path.removeprefix("file://")).resolve()
    if not is_complete(found):
        raise ClusterError(f"{path} is not a complete checkpoint or savepoint: it has no _metadata")
    return found.as_uri()


def is_checkpoint(uri: str) -> bool:
    """Whether it is a checkpoint, by its name, and not a savepoint."""
    return CHECKPOINT.fullmatch(uri.rstrip("/").rpartition("/")[2]) is not None


def _number(path: Path) -> int:
    match = CHECKPOINT.fullmatch(path.name)
    return int(match[1]) if match else -1
