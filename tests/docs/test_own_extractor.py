"""What operators/extractors/README.md walks through, as a user would do it, but for what needs a cluster.

tests/cluster/test_own_extractors.py does that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .markdown import ROOT, blocks
from .tour import run, steps

PAGE = ROOT / "operators" / "extractors" / "README.md"
EXAMPLES = ROOT / "tests" / "examples"
NEEDS_CLUSTER = {"submit", "upgrade"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with both versions, and an environment beside it."""
    (tmp_path / "env.yaml").write_text(f"directory: {tmp_path}/run\n")
    (tmp_path / "here" / "later").mkdir(parents=True)
    for name in ("vibration.py", "later/vibration.py"):
        shutil.copy(EXAMPLES / name, tmp_path / "here" / name)
    return tmp_path / "here"


def test_the_walk_runs_as_it_stands(folder):
    shell = [block for block in blocks(PAGE.read_text()) if block.language == "sh"]
    taken = {text: run(folder, folder.parent / "env.yaml", command, text)
             for command, text in steps(shell) if command not in NEEDS_CLUSTER}
    for expected in ("kept over 20 series of records", "from schema version 1 to 2", "shaking:2", "vibration:Spectrum@", "alarm_rate"):
        assert expected in "".join(taken.values()), taken


def test_what_it_shows_of_the_code_is_in_the_code():
    code = (EXAMPLES / "vibration.py").read_text() + (EXAMPLES / "later" / "vibration.py").read_text()
    shown = [line.strip() for block in blocks(PAGE.read_text()) if "class Spectrum" in block.text for line in block.text.splitlines()]
    assert len(shown) > 20
    assert [line for line in shown if line not in ("", "...") and line not in code] == []
