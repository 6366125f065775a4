"""An environment of its own for each rival, made once from its requirements file beside this project's environment."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from swapstream.models.errors import ClusterError
from swapstream.scripts.console import err
from swapstream.scripts.environment import ROOT

REQUIREMENTS = ROOT / "benchmarks" / "rivals"
VENVS = Path(sys.prefix) / "rivals"


def python_of(rival: str) -> Path:
    """The Python of a rival's environment, which holds exactly what benchmarks/rivals/<rival>.txt pins. Raises ClusterError."""
    wanted = (REQUIREMENTS / f"{rival}.txt").read_text()
    home, stamp = VENVS / rival, VENVS / rival / "installed.txt"
    python = home / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != wanted:
        with err.status(f"installing {rival} into {home}"):
            venv.create(home, clear=True, with_pip=True)
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                  "-r", str(REQUIREMENTS / f"{rival}.txt")])
        stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{command[-1]} could not be installed: {(done.stderr or done.stdout).strip()[-500:]}")
