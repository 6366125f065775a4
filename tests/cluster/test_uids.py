"""The uids of detect's operators. State is found by them: a change here breaks every savepoint and belongs in the changelog."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from swapstream.jobs.spec import JobSpec
from swapstream.scripts.environment import Topics
from swapstream.scripts.flink_cli import connector, python_jar

UIDS = [
    "ledger-calc",
    "ledger-datastreamtotable",
    "ledger-map",
    "ledger-sink",
    "output-calc",
    "output-constraintenforcer",
    "output-datastreamtotable",
    "output-sink",
    "parameters-calc",
    "parameters-sinkconversion",
    "parameters-source",
    "shard",
    "telemetry-calc",
    "telemetry-calc-2",
    "telemetry-sinkconversion",
    "telemetry-source",
    "telemetry-windowaggregate",
]

BUILD = """
import importlib, json, sys
from pathlib import Path
from swapstream.jobs.running import environment
from swapstream.jobs.spec import JobSpec
from swapstream.jobs.uids import set_uids
spec = JobSpec.read(Path(sys.argv[1]))
environment(spec).add_jars(*sys.argv[2:])
job = importlib.import_module(f"swapstream.jobs.{spec.job}")
print(json.dumps(set_uids(job.build(spec), spec.line)))
"""


def uids_of(spec: JobSpec, directory: Path) -> list[str]:
    """Build the job's graph in a process of its own, with a JVM but no cluster."""
    spec.write(directory / "spec.json")
    jars = [jar.as_uri() for jar in (connector(), python_jar())]
    command = [sys.executable, "-c", BUILD, str(directory / "spec.json"), *jars]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_detects_uids_never_change(tmp_path: Path) -> None:
    """Whatever the deployment, its topics, its delivery and its parallelism are."""
    topics = {role: topic.name for role, topic in Topics().by_role().items()}
    spec = JobSpec("detect", "prod", "a", "0" * 64, 0, "127.0.0.1:1", topics, 4, dict.fromkeys(range(4), 0))
    assert uids_of(spec, tmp_path) == UIDS
    renamed = {role: f"other-{name}" for role, name in topics.items()}
    other = JobSpec("detect", "test", "b", "1" * 64, 9, "127.0.0.1:1", renamed, 2, {0: 5, 1: 7}, 1, "at_least_once", 50)
    assert uids_of(other, tmp_path) == UIDS


def test_a_job_that_takes_over_has_a_sink_of_its_own_and_nothing_else(tmp_path: Path) -> None:
    topics = {role: topic.name for role, topic in Topics().by_role().items()}
    spec = JobSpec("detect", "prod", "a", "0" * 64, 0, "127.0.0.1:1", topics, 4, dict.fromkeys(range(4), 0), generation=3, line=3)
    assert uids_of(spec, tmp_path) == sorted("output-sink-3" if uid == "output-sink" else uid for uid in UIDS)
