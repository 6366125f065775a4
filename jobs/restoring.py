"""Going on from a state that does not exist yet when the job's graph is built: an upgrade stops the job before only when this one can be
submitted at once."""

from __future__ import annotations

import time
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment

from swapstream.models.errors import ClusterError

PATIENCE = 1800.0
"""Seconds."""
LOOK_AGAIN = 0.02


def restore_from(env: StreamExecutionEnvironment, file: Path, leave_unclaimed: bool = False) -> None:
    """Wait for a file with the URI of a savepoint or checkpoint in it, and restore from there. That the graph is built says
    FILE.ready beside it. FILE must be written atomically. `leave_unclaimed`: state that no operator claims is left behind. Raises
    ClusterError."""
    file.with_name(f"{file.name}.ready").touch()
    state = wait_for(file)
    conf = Configuration()
    conf.set_string("execution.state-recovery.path", state)
    # `flink run` sets this to false where it was given no path, whatever -D says.
    conf.set_string("execution.state-recovery.ignore-unclaimed-state", str(leave_unclaimed).lower())
    env.configure(conf)


def wait_for(file: Path, seconds: float = PATIENCE) -> str:
    """What is in a file, once it is there. An empty one calls the job off. Raises ClusterError."""
    deadline = time.monotonic() + seconds
    while not file.is_file():
        if time.monotonic() > deadline:
            raise ClusterError(f"--restore-from {file}: there is no such file after {seconds:.0f} s")
        time.sleep(LOOK_AGAIN)
    found = file.read_text().strip()
    if not found:
        raise ClusterError(f"--restore-from {file}: empty: the job was called off")
    return found
