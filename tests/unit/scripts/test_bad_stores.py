"""Stores that are full, can only be read, or are damaged, on real disks; versions that two want at once. What train, export and the
commands of models say, and what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from swapstream.models import Store
from swapstream.models.errors import InvalidArtifact, InvalidSettings, Unavailable
from swapstream.scripts.main import cli
from tests.support.broker import Broker
from tests.unit.models.examples import make
from tests.unit.scripts.test_export import ARCHIVING, DEPLOYMENT, lived

SIZE = 64 * 1024


class Disk:
    """A file system of SIZE bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Up to the last byte; directories and empty files can still be made."""
        with open(self.path / "filler", "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    def only_read(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True)

    def files(self) -> list[str]:
        """But for what fills it."""
        found = (str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())
        return sorted(name for name in found if name != "filler")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an environment whose store is below `disk`, a schema, a file of readings and a plan."""
    monkeypatch.chdir(tmp_path)
    Path("disk").mkdir()
    Path("here.yaml").write_text(f"directory: {tmp_path}/run\nmodels: {{store: 'file://{tmp_path}/disk/store'}}\n")
    Path("pumps.yaml").write_text("{name: pumps, fields: [x]}")
    Path("plan.yaml").write_text("{name: p, schema: pumps.yaml, extractor: [identity], champion: demo:1}")
    Path("rows.csv").write_text("x\n" + "".join(f"{n % 7}\n" for n in range(50)))
    monkeypatch.setenv("SWAPSTREAM_ENV", "here.yaml")
    return tmp_path


@pytest.fixture
def disk(here: Path) -> Iterator[Disk]:
    """Mounted at `disk`."""
    path = here / "disk"
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own needs root, and the right to mount")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", path], check=True)  # pyarrow leaves a file open that it could not write


def run(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if done.exception:
        assert "\n" not in str(done.exception)
        raise done.exception
    return done


TRAIN = ("train", "zscore", "rows.csv", "--schema", "pumps.yaml", "--name", "demo")


def test_a_full_store(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(Unavailable, match=r"store .*/disk/store: objects/[0-9a-f]{64}: no space left on device"):
        run(*TRAIN)
    assert disk.files() == []
    (disk.path / "filler").unlink()
    run(*TRAIN)
    assert Store(disk.path / "store").get("demo:1").ref == "demo:1"


def test_a_store_that_can_only_be_read(disk: Disk) -> None:
    """Nothing can be put, everything can be looked at."""
    run(*TRAIN)
    before = disk.files()
    disk.only_read()
    with pytest.raises(Unavailable, match=r"store .*/disk/store: .*: read-only file system"):
        run(*TRAIN)
    assert disk.files() == before
    for command in ("models list", "models show demo:1", "models diff demo:1 demo:1", "models params demo:1 numbers.npz"):
        run(*command.split())


def test_what_a_store_gives_to_a_full_disk(disk: Disk) -> None:
    """Numbers and MLflow's format: a directory or file is there whole, or as it was."""
    Store("run/store").put(make("mahalanobis"))
    Path("here.yaml").write_text(f"directory: {Path.cwd()}/run\n")
    (disk.path / "old.npz").write_bytes(b"old")
    disk.fill()
    for name in ("new.npz", "old.npz"):
        with pytest.raises(InvalidSettings, match=rf"{name}: No space left on device"):
            run("models", "params", "demo:1", str(disk.path / name))
    with pytest.raises(OSError, match="No space left on device"):
        run("models", "to-mlflow", "demo:1", str(disk.path / "mlflow"))
    assert disk.files() == ["old.npz"]
    assert (disk.path / "old.npz").read_bytes() == b"old"
    assert [path.name for path in disk.path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("full", [True, False])
def test_an_export(disk: Disk, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    Broker(monkeypatch).live(lived(ARCHIVING))
    if full:
        disk.fill()
    else:
        disk.only_read()
    with pytest.raises(OSError, match=r"(No space left on device|Read-only file system).*disk"):
        run("export", "--deployment", DEPLOYMENT, "--out", str(disk.path / "out"))
    assert list(disk.path.glob("*")) == [disk.path / "filler"] * full


@pytest.mark.parametrize("command", [
    "models show demo:1", "models diff demo:1 demo:2", "models params demo:1 numbers.npz", "models to-mlflow demo:1 out", "push demo:1",
    "plan check plan.yaml", "try plan.yaml rows.csv", "check demo:1 --plan plan.yaml",
    "push demo:1 --params numbers.npz",
])  # fmt: skip
def test_a_damaged_artifact(here: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Nothing is made of it, and nothing sent."""
    broker = Broker(monkeypatch)
    run(*TRAIN)
    run(*TRAIN)
    run("models", "params", "demo:2", "numbers.npz")
    before = Path("numbers.npz").read_bytes()
    store = Store(here / "disk" / "store")
    broken = here / "disk" / "store" / "objects" / store.resolve("demo:1").digest
    broken.write_bytes(broken.read_bytes()[:-3])
    with pytest.raises(InvalidArtifact, match=r"demo:1: .*store .* is damaged, its bytes have digest"):
        run(*command.split())
    assert not any(broker.logs.values())
    assert not Path("out").exists()
    assert (Path("numbers.npz").read_bytes(), store.versions("demo")) == (before, (1, 2))
    assert "demo:1: damaged: " in run("models", "list").stderr


@pytest.mark.parametrize("fixed", [True, False])
def test_two_trainers_at_once(here: Path, fixed: bool) -> None:
    """Of one version there is one; who does not say which gets the next."""
    command = [str(Path(sys.executable).with_name("swapstream")), *TRAIN, *["--version", "1"] * fixed, "--alarm-rate"]
    started = [subprocess.Popen([*command, rate], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for rate in ("0.1", "0.4")]
    said = {process.communicate()[1]: process.returncode for process in started}
    store = Store(here / "disk" / "store")
    if not fixed:
        assert (set(said.values()), store.versions("demo")) == ({0}, (1, 2))
        return
    (late,) = [line for line, code in said.items() if code == 4]
    assert late.startswith("swapstream: model demo:1 exists with digest")
    assert late.count("\n") == 1
    assert (sorted(said.values()), store.versions("demo")) == ([0, 4], (1,))
