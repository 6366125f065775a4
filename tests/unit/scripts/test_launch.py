"""What Flink's processes are started with."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from swapstream.scripts.environment import Environment
from swapstream.scripts.launch import class_path
from swapstream.scripts.rendering import process_environment, render


def test_classes_of_what_every_job_brings_along_are_loaded_once_by_the_cluster() -> None:
    [paths] = class_path().values()
    jars = [Path(path) for path in paths.split(os.pathsep)]
    assert [jar.name.rpartition("-")[0] for jar in jars] == ["flink-sql-connector-kafka-5.0.0", "flink-python"]
    assert all(jar.is_file() for jar in jars)
    assert not class_path().keys() & process_environment(Environment(), mark=False).keys()
    config = msgspec.yaml.decode(render(Environment(), Path("/e.yaml"), "/s.sock")["flink/config.yaml"])
    assert config["classloader.resolve-order"] == "parent-first"
