"""Artifacts by reference: only what was defined, from where it is allowed, kept in bounded room."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from swapstream.models.artifact import MAX_BYTES
from swapstream.models.errors import Unavailable
from swapstream.models.object_cache import ObjectCache, default_folder
from swapstream.models.objects import Objects

DATA = b"a model " * 100
DIGEST = hashlib.sha256(DATA).hexdigest()
WHERE = f"objects/{DIGEST}"


@pytest.fixture(params=["folder", "memory"])
def store(request: Any, tmp_path: Path) -> Iterator[str]:
    """A store with DATA in it."""
    if request.param == "folder":
        (tmp_path / "store" / "objects").mkdir(parents=True)
        (tmp_path / "store" / WHERE).write_bytes(DATA)
        yield str(tmp_path / "store")
        return
    MemoryFileSystem().pipe_file(f"/store/{WHERE}", DATA)
    yield "memory://store"
    MemoryFileSystem.store.clear()


def replace(store: str, data: bytes) -> None:
    """What lies there becomes something else."""
    if store.startswith("memory"):
        MemoryFileSystem().pipe_file(f"/store/{WHERE}", data)
    else:
        (Path(store) / WHERE).write_bytes(data)


def objects(store: str, tmp_path: Path, *allowed: str) -> Objects:
    return Objects(store, allowed, ObjectCache(tmp_path / "cache"))


def test_what_is_there_is_fetched_once(store: str, tmp_path: Path) -> None:
    some = objects(store, tmp_path)
    assert some.get(DIGEST, len(DATA), WHERE) == DATA
    replace(store, b"")
    assert some.get(DIGEST, len(DATA), WHERE) == DATA
    assert objects(store, tmp_path).get(DIGEST, len(DATA), WHERE) == DATA


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (DATA[:-1] + b"x", "digest: [0-9a-f]{64}; defined is " + DIGEST),
        (DATA[:-1], f"size: {len(DATA) - 1} bytes; defined are {len(DATA)}"),
        (DATA + b"x" * 10_000, f"size: more than {len(DATA)} bytes"),
        (b"", "size: 0 bytes"),
    ],
)
def test_other_bytes_are_as_if_none_were_there(store: str, tmp_path: Path, data: bytes, line: str) -> None:
    replace(store, data)
    some = objects(store, tmp_path)
    with pytest.raises(Unavailable, match=line):
        some.get(DIGEST, len(DATA), WHERE)
    replace(store, DATA)
    assert some.get(DIGEST, len(DATA), WHERE) == DATA


def test_an_object_that_comes_later_is_found(store: str, tmp_path: Path) -> None:
    other = hashlib.sha256(b"later").hexdigest()
    some = objects(store, tmp_path)
    with pytest.raises(Unavailable, match=other):
        some.get(other, 5, f"objects/{other}")
    if store.startswith("memory"):
        MemoryFileSystem().pipe_file(f"/store/objects/{other}", b"later")
    else:
        (Path(store) / "objects" / other).write_bytes(b"later")
    assert some.get(other, 5, f"objects/{other}") == b"later"


@pytest.mark.parametrize(
    "where",
    ["../secret", "objects/../../x", "/etc/passwd", "", "a//b", "a/.hidden", "a\\b", "http://elsewhere/x", "a::file://b", "a?b", "a%2e"],
)
def test_what_is_no_path_below_a_store_is_not_fetched(tmp_path: Path, where: str) -> None:
    with pytest.raises(Unavailable, match="is no path below a store"):
        objects("memory://store", tmp_path).get(DIGEST, len(DATA), where)


@pytest.mark.parametrize("allowed", ["memory://other", "memory://store/objects/x", "memory://sto", "file:///", "memory://store/object"])
def test_nothing_is_fetched_from_outside_of_the_allowed_prefixes(store: str, tmp_path: Path, allowed: str) -> None:
    with pytest.raises(Unavailable, match=r"outside of the allowed prefixes"):
        objects(store, tmp_path, allowed).get(DIGEST, len(DATA), WHERE)
    assert objects(store, tmp_path, allowed, f"{store}/objects/").get(DIGEST, len(DATA), WHERE) == DATA


@pytest.mark.parametrize(
    ("store", "line"),
    [
        ("", "submitted without a store"),
        ("memory://nowhere", "nowhere/objects"),
        ("nosuch://bucket", "nosuch://bucket"),
        ("memory://a::file://b", "no chain of them"),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x"),
    ],
)
def test_a_store_that_can_not_be_reached_is_told_in_one_line(store: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=line) as caught:
        objects(store, tmp_path).get(DIGEST, len(DATA), WHERE)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    os.mkfifo(tmp_path / WHERE)
    with pytest.raises(Unavailable, match="is no file"):
        objects(str(tmp_path), tmp_path).get(DIGEST, len(DATA), WHERE)


@pytest.mark.parametrize("size", [0, -1, MAX_BYTES + 1])
def test_sizes_are_bounded_before_anything_is_read(tmp_path: Path, size: int) -> None:
    with pytest.raises(Unavailable, match=f"size {size}; allowed are 1 to"):
        objects("memory://store", tmp_path).get(DIGEST, size, WHERE)


# -- the cache


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_was_asked_for_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", room=3_000)
    pieces = [bytes([i]) * 1_000 for i in range(4)]
    for age, piece in enumerate(pieces[:3]):
        cache.put(digest(piece), piece)
        os.utime(tmp_path / "cache" / digest(piece), (1_000 + age, 1_000 + age))
    assert cache.get(digest(pieces[0])) == pieces[0]
    cache.put(digest(pieces[3]), pieces[3])
    assert [cache.get(digest(piece)) is not None for piece in pieces] == [True, False, True, True]
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 3_000


def test_what_is_larger_than_all_the_room_stays_alone(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, room=10)
    for piece in (b"a" * 100, b"b" * 100):
        cache.put(digest(piece), piece)
    assert [path.name for path in tmp_path.iterdir()] == [digest(b"b" * 100)]


def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    cache.put(DIGEST, DATA)
    (tmp_path / DIGEST).write_bytes(DATA[1:])
    assert cache.get(DIGEST) is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_written_keeps_nothing_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = ObjectCache(tmp_path / "file")
    cache.put(DIGEST, DATA)
    assert cache.get(DIGEST) is None


def test_each_user_has_a_folder(tmp_path: Path) -> None:
    assert default_folder().name == f"swapstream-models-{os.getuid()}"
