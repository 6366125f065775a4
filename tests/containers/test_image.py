"""The whole of it, where that can be: the image's steps in an empty root, Compose's services, the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("debootstrap"), reason="needs to be root, and debootstrap"),
]


def test_the_image_builds_and_runs_the_demo_and_a_flink_deployment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.containers", "--root", str(tmp_path / "roots"), "--application"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    assert "all is well" in done.stdout
