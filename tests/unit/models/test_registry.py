"""The store under everything that can go wrong with it, and its index."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from swapstream.models import Store, index
from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict, InvalidArtifact, Unavailable, UnknownName
from swapstream.models.index import REMOVED, every
from swapstream.models.store import where
from tests.unit.models.examples import make


@pytest.fixture(params=["folder", "memory"])
def store(request: Any, tmp_path: Path) -> Iterator[Store]:
    yield Store({"folder": f"{tmp_path}/store", "memory": f"memory://{tmp_path.name}"}[request.param])
    MemoryFileSystem.store.clear()


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def version(number: int, **more: Any) -> Artifact:
    return make("zscore", version=number, **more)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# -- the index


def test_it_says_what_the_manifests_say(store: Store) -> None:
    for number in (1, 2, 10):
        store.put(version(number))
    for _ in range(2):
        rows = every(store)
        assert [row.ref for row in rows] == ["demo:1", "demo:2", "demo:10"]
        said = store.get("demo:2")
        assert rows[1] == index.row_of(said)
        assert (rows[1].digest, rows[1].threshold, rows[1].rows) == (said.digest, said.manifest.threshold, 0)


def test_it_is_read_and_not_the_artifacts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(version(1))
    before = every(store)
    monkeypatch.setattr(Store, "of", lambda *_: pytest.fail("an artifact was read"))
    assert every(store) == before


@pytest.mark.parametrize("damage", [
    b"", b"\xc1", msgspec.msgpack.encode({"v": 99, "rows": []}), msgspec.msgpack.encode({"v": 1, "rows": [1]}),
])  # fmt: skip
def test_a_damaged_or_foreign_index_is_made_anew(store: Store, damage: bytes) -> None:
    store.put(version(1))
    rows = every(store)
    store.folder.replace(index.PATH, damage)
    assert every(store) == every(store) == rows


def test_what_is_put_afterwards_is_found(store: Store) -> None:
    store.put(version(1))
    assert len(every(store)) == 1
    store.put(version(2))
    assert [row.ref for row in every(store)] == ["demo:1", "demo:2"]


def test_rows_without_a_ref_are_dropped(local: Store, tmp_path: Path) -> None:
    for number in (1, 2):
        local.put(version(number))
    every(local)
    (tmp_path / "store/refs/demo/1").unlink()
    assert [row.ref for row in every(local)] == ["demo:2"]


def test_what_is_damaged_has_a_row_that_says_so(local: Store, tmp_path: Path) -> None:
    entry = local.put(version(1))
    path = tmp_path / "store" / where(entry.digest)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    assert [row.problem.startswith("damaged: model demo:1: ") for row in every(local)] == [True]
    path.write_bytes(data)
    assert [row.problem for row in every(local)] == [""]


def test_what_was_removed_stays_in_the_list_and_can_come_back(store: Store) -> None:
    entry = store.put(version(1))
    every(store)
    store.folder.remove(where(entry.digest))
    index.write(store, [msgspec.structs.replace(row, problem=REMOVED) for row in every(store)])
    (row,) = every(store)
    assert (row.problem, row.kind, row.digest) == (REMOVED, "zscore", entry.digest)
    with pytest.raises(UnknownName, match=r"model demo:1 is no longer in the store .*: it was removed as unused"):
        store.get("demo:1")
    with pytest.raises(Conflict, match="model demo:1 exists"):
        store.put(version(1, seed=7))
    store.put(version(1))
    assert [row.problem for row in every(store)] == [""]


def test_many_writers_and_readers_at_once(local: Store) -> None:
    """Every list is of some moment; at the end nothing is missing."""

    def put(number: int) -> list[str]:
        local.put(version(number))
        return [row.problem for row in every(local)]

    with ThreadPoolExecutor(8) as pool:
        assert {problem for problems in pool.map(put, range(1, 25)) for problem in problems} == {""}
    assert [row.version for row in every(local)] == list(range(1, 25))


# -- a store that can't, or no longer


def test_two_processes_of_one_version_at_once(tmp_path: Path) -> None:
    """Exactly one wins, and the others say so."""
    script = """if True:
        import sys
        from swapstream.models import Store
        from swapstream.models.errors import Conflict
        from tests.unit.models.examples import make
        model = make("zscore", version=1, seed=int(sys.argv[2]))
        sys.stdin.readline()
        try:
            Store(sys.argv[1]).put(model)
            print("won", model.digest)
        except Conflict as error:
            print(error)
    """
    started = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "store"), str(seed)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) for seed in range(3)]  # fmt: skip
    said = [process.communicate("go\n")[0].strip() for process in started]
    won = [line.split()[1] for line in said if line.startswith("won")]
    assert len(won) == 1
    assert sum("model demo:1 exists with digest" in line for line in said) == 2
    assert Store(tmp_path / "store").resolve("demo:1").digest == won[0]


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(("call", "code", "said"), [
    ("fsync", errno.ENOSPC, "no space left on device"),
    ("link", errno.EROFS, "read-only file system"),
    ("replace", errno.EIO, "input/output error"),
    ("link", errno.ESTALE, "stale file handle"),
])  # fmt: skip
def test_a_store_that_fails_half_way_is_one_line_and_leaves_no_half(
    local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, said: str
) -> None:
    before = local.put(version(1))
    there = files(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing(code))
        with pytest.raises(Unavailable, match=rf"store .*store: (objects/[0-9a-f]+|refs/demo/2): {said}$"):
            local.put(version(2))
    left = set(files(tmp_path / "store")) - set(there)
    assert all(name.startswith("objects/") and "tmp" not in name for name in left)  # whole, and to be collected
    assert local.list() == (before,)
    local.put(version(2))
    assert local.get("demo:2").encode() == version(2).encode()


def test_a_full_disk(tmp_path: Path) -> None:
    """A real one: the process may write no more than a kilobyte into a file."""
    script = """if True:
        import resource, signal, sys
        from swapstream.models import Store
        from swapstream.models.errors import Unavailable
        from tests.unit.models.examples import make
        model = make("pca", version=1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
        try:
            Store(sys.argv[1]).put(model)
        except Unavailable as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "store")], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[3])  # fmt: skip
    assert done.stdout.strip().endswith(": file too large")
    assert files(tmp_path / "store") == []


def test_a_store_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")
    with pytest.raises(Unavailable, match=r"store .*: objects/.*: not a directory"):
        store.put(version(1))
    with pytest.raises(Unavailable, match=r"store .*: index: not a directory"):
        every(store)


def test_an_index_that_can_not_be_written_is_done_without(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    local.put(version(1))
    monkeypatch.setattr(os, "replace", failing(errno.EROFS))
    assert [row.ref for row in every(local)] == ["demo:1"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64, b"0" * 63])
def test_a_damaged_ref(local: Store, tmp_path: Path, content: bytes) -> None:
    local.put(version(1))
    (tmp_path / "store/refs/demo/1").write_bytes(content)
    with pytest.raises(InvalidArtifact, match=r"model demo:1: its ref in store .* is damaged"):
        local.get("demo:1")
    assert every(local)[0].problem.startswith("damaged: ")


def test_a_ref_to_another_model(local: Store, tmp_path: Path) -> None:
    local.put(version(1))
    other = local.put(version(2))
    (tmp_path / "store/refs/demo/1").write_text(other.digest)
    with pytest.raises(InvalidArtifact, match=r"model demo:1: store .* has demo:2 under its name"):
        local.get("demo:1")


def test_a_remote_store_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://away")
    store.put(version(1))
    monkeypatch.setattr(MemoryFileSystem, "ls", failing(errno.ECONNRESET))
    with pytest.raises(Unavailable, match="store: memory://away/refs: "):
        every(store)


@pytest.mark.parametrize("written", [0, 1])
def test_a_remote_store_that_goes_away_half_way(monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """Before the object is written, and between it and its name: there is no such version, and later there can be."""
    store = Store("memory://half-way")
    before = store.put(version(1))
    real, left = MemoryFileSystem.pipe_file, iter([True] * written)

    def ends(*arguments: Any, **more: Any) -> Any:
        return real(*arguments, **more) if next(left, False) else failing(errno.ECONNRESET)()

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "pipe_file", ends)
        with pytest.raises(Unavailable, match=rf"store: memory://half-way/{('objects', 'refs/demo/2')[written]}.*reset by peer$"):
            store.put(version(2))
    assert store.list() == (before,)
    store.put(version(2))
    assert store.get("demo").encode() == version(2).encode()
    MemoryFileSystem.store.clear()
