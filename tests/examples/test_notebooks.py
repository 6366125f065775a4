"""Notebooks lie here as they are written: without what they showed. tests/cluster executes them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_whole_and_shows_nothing(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []
    assert notebook.metadata.kernelspec.name == "python3"
