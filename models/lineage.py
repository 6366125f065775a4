"""Lineage: who made a model, when, with which code, on which data."""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swapstream.models.arrays import Float64
from swapstream.models.manifest import Lineage, Source

LIBRARIES = ("swapstream", "numpy", "scikit-learn", "onnx", "onnxruntime", "skl2onnx")


def lineage(
    command: str | None = None,
    data: Sequence[Source] = (),
    seed: int | None = None,
    settings: Mapping[str, int | float | str] | None = None,
    parent: str | None = None,
    extractor: str | None = None,
    created: str | None = None,
) -> Lineage:
    """What can be known here and now. `created` is ISO 8601 in UTC [now], `command` the process's own command line."""
    revision = _git("rev-parse", "HEAD")
    return Lineage(
        author=author(),
        created=created or datetime.now(UTC).isoformat(timespec="seconds"),
        command=command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        code_revision=revision,
        dirty=None if revision is None else bool(_git("status", "--porcelain", "--untracked-files=no")),
        data=tuple(data),
        seed=seed,
        settings=dict(settings or {}),
        libraries=libraries(),
        parent=parent,
        extractor=extractor,
    )


def file_source(path: str | Path, rows: int) -> Source:
    """A file as a source: its name without the folder, and the digest of its bytes."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source("file", Path(path).name, digest, rows)


def array_source(rows: Float64, name: str = "X") -> Source:
    """An array in memory as a source: the digest of its float64 bytes, row by row."""
    return Source("array", name, hashlib.sha256(np.ascontiguousarray(rows, "<f8").tobytes()).hexdigest(), len(rows))


def parameters_source(parameters: Mapping[str, NDArray[Any]], name: str = "parameters") -> Source:
    """Numbers that were given as they are: the digest of their names, dtypes, shapes and bytes; `rows` counts arrays."""
    seen = hashlib.sha256()
    for key in sorted(parameters):
        array = parameters[key]
        seen.update(f"{key} {array.dtype.str} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    return Source("parameters", name, seen.hexdigest(), len(parameters))


def author() -> str:
    """Name and address from git's configuration, else user@host."""
    name, address = _git("config", "user.name"), _git("config", "user.email")
    if name and address:
        return f"{name} <{address}>"
    return name or address or f"{_user()}@{socket.gethostname()}"


def libraries() -> dict[str, str]:
    """Installed versions of LIBRARIES."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without an entry
        return "unknown"


def _git(*arguments: str) -> str | None:
    """What git says in the working directory; None without git, outside of a repository, or when it says nothing."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
