"""Artifacts of a store, kept on this machine: a bounded folder of files named by their digest, shared by all workers of a host."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

ROOM = 2 * 2**30


class ObjectCache:
    """At most about `room` bytes: what was asked for longest ago goes first. Holds nothing that can't be fetched again, so
    whatever goes wrong with a file here counts as a file that isn't there.
    """

    def __init__(self, folder: Path, room: int = ROOM) -> None:
        self._folder, self._room = folder, room

    def get(self, digest: str) -> bytes | None:
        """The bytes with this digest, if they are here and undamaged."""
        path = self._folder / digest
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() == digest:
            return data
        with suppress(OSError):
            path.unlink()
        return None

    def put(self, digest: str, data: bytes) -> None:
        """Keep bytes that have this digest; a folder that can't be written keeps none."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(prefix=".", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(path, self._folder / digest)
            finally:
                Path(path).unlink(missing_ok=True)
            self._shrink(digest)

    def _shrink(self, newest: str) -> None:
        """Another worker may do the same at the same time: a file that is gone already is no harm."""
        files = []
        for entry in self._folder.iterdir():
            with suppress(OSError):
                stat = entry.stat()
                files.append((stat.st_mtime, entry, stat.st_size))
        size = sum(length for _, _, length in files)
        for _, entry, length in sorted(files):
            if size <= self._room:
                return
            if entry.name != newest:
                with suppress(OSError):
                    entry.unlink()
                size -= length


def default_folder() -> Path:
    """Below the host's folder for temporary files, one for each user."""
    return Path(tempfile.gettempdir()) / f"swapstream-models-{os.getuid()}"
