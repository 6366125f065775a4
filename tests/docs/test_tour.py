"""The README's tour as a new user would do it, block by block. Without a cluster, what needs one is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from .commands import parse
from .markdown import ROOT, blocks, command_line, section, statements

TOUR = blocks(section((ROOT / "README.md").read_text(), "Five minutes with your own model and file"))
NEEDS_CLUSTER = {"up", "down", "status", "submit", "cancel", "feed", "anomalies", "scores", "push", "swap"}
STAND_IN = """
    <ir_version: 8, opset_import: ["": 18]>
    autoencoder (float[n, 12] x) => (float[n, 12] y) <float half = {0.5}> { y = Mul(x, half) }
"""
"""What torch would export, of as many features as the tour's extractor has: four fields, a mean and a deviation of each."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, with an environment of its own beside it."""
    around = tmp_path_factory.mktemp("tour")
    (around / "env.yaml").write_text(f"directory: {around}/run\n")
    (around / "here").mkdir()
    return around / "here"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SWAPSTREAM_ENV": f"{folder.parent}/env.yaml", "COLUMNS": "100", "HOME": str(folder.parent),
                                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def steps() -> Iterator[tuple[str, str]]:
    """(language, what to run) of the tour, without what needs a cluster or torch."""
    for block in TOUR:
        if block.language == "python":
            yield "python", block.text
        for statement in statements(block.text) if block.language == "sh" else ():
            arguments = command_line(statement)
            if arguments is None or parse(arguments).split()[0] not in NEEDS_CLUSTER:
                yield "sh", statement


def test_the_tour_runs_as_it_stands(folder):
    printed = ""
    for language, text in steps():
        if "torch." in text:
            compile(text, "README.md", "exec")
            onnx.save(onnx.parser.parse_model(STAND_IN), folder / "autoencoder.onnx")
            continue
        done = run(folder, *(["bash", "-ec", text] if language == "sh" else [sys.executable, "-c", text]))
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    for expected in ("can be deployed", "pump:1", "pump:2@", "pump:3", "alarm_rate"):
        assert expected in printed, printed
    assert (folder / "first.png").stat().st_size > 1000


def test_what_the_tour_skips_here_is_what_needs_a_cluster():
    skipped = {parse(arguments).split()[0] for block in TOUR if block.language == "sh"
               for statement in statements(block.text) if (arguments := command_line(statement))}
    assert {"up", "submit", "feed", "swap", "down", "train", "try", "pack", "plan"} <= skipped
