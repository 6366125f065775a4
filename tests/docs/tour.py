"""The README's tour, statement by statement, run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from .commands import parse
from .markdown import ROOT, Block, blocks, command_line, section, statements

BLOCKS = blocks(section((ROOT / "README.md").read_text(), "Five minutes with your own model and file"))
STAND_IN = """
    <ir_version: 8, opset_import: ["": 18]>
    autoencoder (float[n, 12] x) => (float[n, 12] y) <float half = {0.5}> { y = Mul(x, half) }
"""
"""What torch would export, of as many features as the tour's extractor has: four fields, a mean and a deviation of each."""


def steps(found: Iterable[Block] = BLOCKS) -> Iterator[tuple[str, str]]:
    """(command, text): `command` is that of `swapstream` which the text calls, else "python" or "sh"."""
    for block in found:
        if block.language == "python":
            yield "python", block.text
        for statement in statements(block.text) if block.language == "sh" else ():
            arguments = command_line(statement)
            yield parse(arguments).split()[0] if arguments else "sh", statement


def run(folder: Path, environment: Path, command: str, text: str) -> str:
    """Run one step in `folder`; returns what it printed on stdout. Fails the test with what it said."""
    if "torch." in text:
        compile(text, "README.md", "exec")
        onnx.save(onnx.parser.parse_model(STAND_IN), folder / "autoencoder.onnx")
        return ""
    variables = os.environ | {"SWAPSTREAM_ENV": str(environment), "COLUMNS": "140", "HOME": str(environment.parent),
                              "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = [sys.executable, "-c", text] if command == "python" else ["bash", "-ec", text]
    done = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout
