"""The cluster that the tests of this folder share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapstream.scripts.launch import PATIENCE

from .local import Cluster


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster: tests use deployments and topics of their own. It is stopped at the end, and nothing may be left."""
    for number in (signal.SIGTERM, signal.SIGINT):  # or the cluster would outlive who ends the tests, from a shell's background as well
        signal.signal(number, signal.default_int_handler)
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.run("up", timeout=PATIENCE + 60)
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="session")
def cluster(running: Cluster) -> Path:
    """The environment file of the running cluster."""
    return running.file
