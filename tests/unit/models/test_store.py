"""The store: what is put is what is got, and names never move."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from swapstream.models import Store
from swapstream.models.artifact import Artifact
from swapstream.models.errors import (
    Conflict,
    InvalidArtifact,
    InvalidSettings,
    SwapstreamError,
    Unavailable,
    UnknownName,
)
from tests.unit.models.examples import make


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: Any, tmp_path: Path) -> Iterator[Store]:
    """A store in each kind of place."""
    places = {"folder": f"{tmp_path}/store", "file": f"file://{tmp_path}/store", "memory": "memory://store"}
    yield Store(places[request.param])
    MemoryFileSystem.store.clear()


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_is_put_is_got(store: Store, artifact: Artifact) -> None:
    entry = store.put(artifact)
    assert (entry.ref, entry.digest) == ("demo:1", artifact.digest)
    assert store.get("demo:1").encode() == artifact.encode()
    assert store.list() == (entry,)


def test_a_name_alone_is_its_newest_version(store: Store) -> None:
    for version in (2, 10, 9):
        store.put(make("zscore", version=version))
    assert store.get("demo").manifest.version == 10
    assert store.versions("demo") == (2, 9, 10)
    assert store.next_version("demo") == 11
    assert store.next_version("other") == 1


def test_the_same_bytes_again_change_nothing(store: Store) -> None:
    assert store.put(make("zscore")) == store.put(make("zscore"))
    assert len(store.list()) == 1


def test_other_bytes_under_the_same_name_conflict(store: Store) -> None:
    first = store.put(make("zscore"))
    with pytest.raises(Conflict, match=f"model demo:1 exists with digest {first.digest}, this one has"):
        store.put(make("pca"))
    assert store.get("demo:1").manifest.kind == "zscore"


def test_of_many_writers_one_wins(local: Store) -> None:
    models = [make("zscore", alarm_rate=rate / 10) for rate in range(8)]

    def put(model: Artifact) -> str | None:
        try:
            return local.put(model).digest
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [digest for digest in pool.map(put, models) if digest]
    assert won == [local.resolve("demo:1").digest]


def test_nothing_is_left_lying_about(local: Store, tmp_path: Path) -> None:
    local.put(make("zscore"))
    with pytest.raises(Conflict):
        local.put(make("pca"))
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_a_damaged_object_is_noticed(local: Store, tmp_path: Path) -> None:
    entry = local.put(make("zscore"))
    target = tmp_path / "store" / "objects" / entry.digest
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidArtifact, match=f"object {entry.digest} is damaged"):
        local.get("demo")
    local.put(make("zscore"))
    assert local.get("demo").encode() == make("zscore").encode()


@pytest.mark.parametrize(
    ("ref", "line"),
    [
        ("nobody", "has no model 'nobody'; there are: demo"),
        ("demo:7", "model 'demo' has no version '7'; there are: 1"),
        ("demo:", None),
        ("demo:01", "no version '01'"),
        ("../demo", r"model name '\.\./demo': allowed are"),
        ("demo/1", "model name 'demo/1'"),
        (".", r"model name '\.'"),
        ("", "model name ''"),
        ("Demo", "model name 'Demo'"),
        ("demo:../../x", "no version"),
    ],
)
def test_refs_are_checked(store: Store, ref: str, line: str | None) -> None:
    store.put(make("zscore"))
    if line is None:
        assert store.get(ref).ref == "demo:1"
        return
    with pytest.raises(SwapstreamError, match=line):
        store.get(ref)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "A" * 64, ""])
def test_digests_are_checked(store: Store, digest: str) -> None:
    with pytest.raises(InvalidArtifact, match="allowed are 64 lower-case hex digits"):
        store.read(digest)


def test_a_digest_that_is_not_there(store: Store) -> None:
    with pytest.raises(UnknownName, match="has no artifact 0000"):
        store.read("0" * 64)


def test_an_empty_store(store: Store) -> None:
    assert store.list() == ()
    with pytest.raises(UnknownName, match="has no model 'demo'; there are: none"):
        store.get("demo")


@pytest.mark.parametrize("url", ["nosuch://bucket/x", "memory://a::memory://b"])
def test_a_url_that_nobody_knows_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match=f"store '{url}'"):
        Store(url)


def test_a_store_that_is_away_is_one_line(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise TimeoutError("no answer\nfrom anybody")

    for ask in ("info", "ls", "cat_file", "pipe_file"):
        monkeypatch.setattr(MemoryFileSystem, ask, away)
    store = Store("memory://store")
    for call in (store.list, lambda: store.put(artifact), lambda: store.get("demo:1"), lambda: store.read("0" * 64)):
        with pytest.raises(Unavailable, match=r"store: memory://store/.*: no answer from anybody"):
            call()


def test_of_two_writers_that_can_not_create_exclusively_the_later_looks_who_won(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store("memory://store")
    real = MemoryFileSystem.pipe_file

    def overtaken(self: Any, path: str, value: bytes, mode: str = "overwrite", **rest: Any) -> None:
        real(self, path, b"e" * 64 if mode == "create" else value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", overtaken)
    with pytest.raises(Conflict, match="model demo:1 exists with digest eeee"):
        store.put(artifact)
    MemoryFileSystem.store.clear()
