"""A broker and a Flink cluster of the benchmark's own, on free ports, in a directory that is deleted afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.workload import PARTITIONS
from swapstream.scripts.cluster import down, up
from swapstream.scripts.console import say
from swapstream.scripts.environment import ROOT, Environment, load_environment
from swapstream.scripts.topics import admin

FILE = "environment.yaml"
RIVAL = "rival"
STAMPED = {"message.timestamp.type": "LogAppendTime"}
"""Broker time on the output says when a record was written, whatever time its producer gives it."""


@contextmanager
def directory(keep: bool) -> Iterator[Path]:
    """Where everything of this benchmark lies."""
    path = Path(tempfile.mkdtemp(prefix="swapstream-"))
    try:
        yield path
    finally:
        if keep:
            say(f"kept {path}")
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def cluster(path: Path, **settings: dict[str, Any]) -> Iterator[Environment]:
    """A running cluster, stopped at the end. `settings` are sections of the environment's file, `job` for one."""
    file = _environment(path, settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the cluster would outlive an impatient caller
    # Flink's workers import benchmarks.rivals from here.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    try:
        environment = up(str(file))
        _create_rival_topic(environment)
        yield environment
    finally:
        down(load_environment(str(file)))


def _environment(path: Path, settings: dict[str, dict[str, Any]]) -> Path:
    topics = {"telemetry": {"name": "telemetry", "partitions": PARTITIONS},
              "scores": {"name": "scores", "partitions": PARTITIONS, "config": STAMPED}}
    content = {"directory": str(path / "cluster"), "topics": topics,
               "broker": {"port": 0, "controller_port": 0}, "flink": {"rest_port": 0}, **settings}
    path.mkdir(parents=True, exist_ok=True)
    file = path / FILE
    file.write_bytes(msgspec.yaml.encode(content))
    return file


def _create_rival_topic(environment: Environment) -> None:
    """Where rivals write: as `scores`, one message a record."""
    with admin(environment) as client:
        client.create_topics({RIVAL: {"num_partitions": PARTITIONS, "replication_factor": -1, "configs": STAMPED}})
        client.wait_for_topics([RIVAL])
