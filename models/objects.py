"""Artifacts by reference: what is too large for `parameters` lies in a store, and is fetched by its digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from swapstream.models.artifact import MAX_BYTES
from swapstream.models.errors import InvalidSettings, Unavailable
from swapstream.models.folders import filesystem, line
from swapstream.models.object_cache import ObjectCache, default_folder

_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class Objects:
    """Fetches objects below the store's URL, from `allowed` prefixes only (default: the store itself), and keeps them in a cache.

    Only bytes of the digest and size that were asked for are ever given: anything else is Unavailable, as a store that is away is,
    since what was defined is then not there.
    """

    def __init__(self, store: str, allowed: Sequence[str] = (), cache: ObjectCache | None = None) -> None:
        self._store = store.rstrip("/")
        self._allowed = tuple(prefix.rstrip("/") for prefix in allowed) or (self._store,)
        self._cache = cache or ObjectCache(default_folder())

    def get(self, digest: str, size: int, where: str) -> bytes:
        """The object at `where` below the store. Takes as long as the store does, so not on the hot path. Raises Unavailable."""
        data = self._cache.get(digest)
        if data is None:
            data = self._fetch(digest, size, self._url(where))
            self._cache.put(digest, data)
        return data

    def _url(self, where: str) -> str:
        if not self._store:
            raise Unavailable(f"store: object {where!r:.200}: the job was submitted without a store")
        if not _PLACE.fullmatch(where):
            raise Unavailable(f"store: object {where!r:.200} is no path below a store")
        url = f"{self._store}/{where}"
        if not any(url.startswith(f"{prefix}/") for prefix in self._allowed):
            raise Unavailable(f"store: {url} is outside of the allowed prefixes {', '.join(self._allowed)}")
        return url

    def _fetch(self, digest: str, size: int, url: str) -> bytes:
        if not 0 < size <= MAX_BYTES:
            raise Unavailable(f"store: {url}: size {size}; allowed are 1 to {MAX_BYTES} bytes")
        data = _read(url, size)
        if len(data) != size:
            found = f"{len(data)}" if len(data) < size else f"more than {size}"
            raise Unavailable(f"store: {url}: size: {found} bytes; defined are {size}")
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise Unavailable(f"store: {url}: digest: {found}; defined is {digest}")
        return data


def _read(url: str, size: int) -> bytes:
    """At most one byte more than `size`, whatever lies there."""
    try:
        fs, path = filesystem(url)
        with _open(fs, path) as file:
            data: bytes = file.read(size + 1)
            return data
    except (Unavailable, InvalidSettings) as error:
        raise Unavailable(str(error)) from error
    except Exception as error:  # each store's library raises errors of its own
        raise Unavailable(f"store: {url}: {line(error)}") from error


def _open(fs: Any, path: str) -> Any:
    """A pipe or a device in place of a file would never end."""
    fs.invalidate_cache()  # what was not there a while ago may be there now
    if fs.info(path).get("type") != "file":
        raise Unavailable(f"store: {path} is no file")
    return fs.open(path, "rb")
