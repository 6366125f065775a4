"""The README's tour as a new user would do it, but for what needs a cluster: tests/cluster/test_tour.py does that."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tour import run, steps

NEEDS_CLUSTER = {"up", "down", "status", "submit", "cancel", "feed", "anomalies", "scores", "push", "swap", "rollback", "ledger", "verify"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, with an environment beside it."""
    (tmp_path / "env.yaml").write_text(f"directory: {tmp_path}/run\n")
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def test_the_tour_runs_as_it_stands(folder):
    printed = "".join(run(folder, folder.parent / "env.yaml", command, text)
                      for command, text in steps() if command not in NEEDS_CLUSTER)
    for expected in ("can be deployed", "pump:1", "pump:2@", "pump:3", "alarm_rate"):
        assert expected in printed, printed
    assert (folder / "first.png").stat().st_size > 1000


def test_the_tour_shows_the_commands_that_matter():
    wanted = {"up", "train", "try", "submit", "feed", "anomalies", "pack", "check", "plan", "swap", "status", "rollback", "ledger",
              "verify", "down"}
    assert wanted <= {name for name, _ in steps()}
