"""Which checkpoint a lost job is resumed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapstream.models.errors import ClusterError
from swapstream.scripts.checkpoints import checkpoint_or_savepoint, newest_checkpoint


def checkpoint(directory: Path, metadata: bytes | None = b"m") -> Path:
    directory.mkdir(parents=True)
    if metadata is not None:
        (directory / "_metadata").write_bytes(metadata)
    return directory


def test_the_highest_number_wins_not_the_last_in_alphabet(tmp_path):
    checkpoint(tmp_path / "a" / "chk-9")
    newest = checkpoint(tmp_path / "a" / "chk-10")
    assert newest_checkpoint(tmp_path, ["a"]) == newest


def test_incomplete_ones_are_passed_over(tmp_path):
    complete = checkpoint(tmp_path / "a" / "chk-1")
    checkpoint(tmp_path / "a" / "chk-2", metadata=None)
    checkpoint(tmp_path / "a" / "chk-3", metadata=b"")
    checkpoint(tmp_path / "a" / "chk-4x")
    checkpoint(tmp_path / "a" / "shared")
    assert newest_checkpoint(tmp_path, ["a"]) == complete


def test_a_later_job_wins_over_an_earlier_ones_higher_number(tmp_path):
    checkpoint(tmp_path / "a" / "chk-90")
    later = checkpoint(tmp_path / "b" / "chk-3")
    assert newest_checkpoint(tmp_path, ["a", "b"]) == later


def test_a_later_job_without_any_leaves_it_to_the_earlier(tmp_path):
    earlier = checkpoint(tmp_path / "a" / "chk-90")
    checkpoint(tmp_path / "b" / "chk-91", metadata=None)
    checkpoint(tmp_path / "stranger" / "chk-99")
    assert newest_checkpoint(tmp_path, ["a", "b", "c"]) == earlier


def test_no_checkpoint_is_none(tmp_path):
    assert newest_checkpoint(tmp_path / "missing", ["a"]) is None
    assert newest_checkpoint(tmp_path, []) is None


def test_a_users_own_path_may_be_a_uri_a_checkpoint_or_a_savepoint(tmp_path):
    taken = checkpoint(tmp_path / "savepoint-1a2b")
    assert checkpoint_or_savepoint(f"file://{taken}") == taken.as_uri()
    assert checkpoint_or_savepoint(str(taken)) == taken.as_uri()


def test_a_users_own_path_that_is_none_is_refused(tmp_path):
    with pytest.raises(ClusterError, match="not a complete checkpoint"):
        checkpoint_or_savepoint(str(tmp_path))
