"""Links lead somewhere, and each folder's README names what is in the folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .markdown import FILES, ROOT, quoted

LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
FOLDERS = ["jobs", "operators", "models", "scripts"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    dead = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert dead == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_has_its_line(folder):
    named = set(quoted((ROOT / folder / "README.md").read_text()))
    assert sorted(file for file in contents(ROOT / folder) if file not in named) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_line_is_of_a_file_that_is_gone(folder):
    rows = [line for line in (ROOT / folder / "README.md").read_text().splitlines() if line.startswith("| `")]
    named = {word for row in rows for word in quoted(row.split("|")[1]) if re.fullmatch(r"[\w/]+\.py|\w+/", word)}
    assert sorted(word for word in named if not (ROOT / folder / word).exists()) == []


def contents(folder: Path) -> list[str]:
    """Python files and executables, and folders as in "kinds/"."""
    return [path.name + "/" * path.is_dir() for path in folder.iterdir()
            if not path.name.startswith("__") and (path.is_dir() or path.suffix in ("", ".py"))]
