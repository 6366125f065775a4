"""Notebooks executed from top to bottom, by a kernel of this interpreter that leaves nothing at home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

FOLDERS = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
SECONDS = 60
"""That a cell may take."""


def executed(notebook: Path, directory: Path, **variables: str) -> Any:
    """The notebook with what its cells showed; it lies in `directory`, as does all that Jupyter writes. Fails the test where a cell
    raises something."""
    copy = directory / notebook.name
    copy.write_bytes(notebook.read_bytes())
    folders = {name: str(directory / "jupyter" / folder) for name, folder in FOLDERS.items()}
    for folder in folders.values():
        Path(folder).mkdir(parents=True)
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", f"--timeout={SECONDS}", str(copy)]
    done = subprocess.run(command, env={**os.environ, **folders, **variables}, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{notebook.name}: {done.stderr}"
    return nbformat.read(copy, as_version=4)


def shown(notebook: Any) -> dict[str, dict[str, str]]:
    """By a cell's id what it showed, by MIME type."""
    found: dict[str, dict[str, str]] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.setdefault(cell.id, {}).update(output.get("data", {}))
    return found
