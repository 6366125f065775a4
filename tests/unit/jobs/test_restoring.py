"""Waiting for the savepoint that a job goes on from."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from swapstream.jobs.restoring import restore_from, wait_for
from swapstream.models.errors import ClusterError


def test_it_waits_until_the_file_is_there(tmp_path: Path) -> None:
    file = tmp_path / "savepoint"

    def write() -> None:
        (tmp_path / "written").write_text("file:///savepoints/one\n")
        (tmp_path / "written").replace(file)

    threading.Timer(0.1, write).start()
    assert wait_for(file) == "file:///savepoints/one"


def test_it_gives_up_and_can_be_called_off(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"no such file after 0 s"):
        wait_for(tmp_path / "none", 0)
    (tmp_path / "empty").touch()
    with pytest.raises(ClusterError, match="called off"):
        wait_for(tmp_path / "empty")


def test_that_the_graph_is_built_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ClusterError):
        restore_from(None, tmp_path / "empty")
    assert (tmp_path / "empty.ready").is_file()
