"""The candidates that are Flink jobs: Swapstream's detect, and PyFlink with one element per record."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks import measure
from benchmarks.arena import Arena
from benchmarks.cluster import RIVAL
from benchmarks.measure import Output, Read
from benchmarks.workload import PLAN
from swapstream.models.errors import ClusterError
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import ROOT, Environment
from swapstream.scripts.flink_cli import FlinkCommandLine, connector, new_job_id, python_jar
from swapstream.scripts.publish import author_of
from swapstream.scripts.rendering import flink_home
from swapstream.scripts.submission import Submission, wait_until_running

TIMEOUT_S = 900.0

DEFAULTS = {
    "execution.buffer-timeout.interval": "100 ms",
    "python.fn-execution.bundle.size": "1000",
    "python.fn-execution.bundle.time": "1000",
    "python.state.cache-size": "1000",
}
"""PyFlink's own, spelled out because the cluster's configuration has others."""

RAISED = DEFAULTS | {"python.fn-execution.bundle.size": "100000", "python.state.cache-size": "100000"}


class Detect:
    """Swapstream's main job, as `swapstream submit detect` runs it: without end, so it gets all readings."""

    name = "detect"

    def __init__(self, readings: int) -> None:
        self.readings = readings

    def run(self, arena: Arena, run: str) -> Output:
        environment = arena.environment
        topic = environment.topics.scores.name
        output = observe(environment, topic, measure.frames, self.name, lambda: submit(arena, run))
        if len(output) != arena.readings:
            raise ClusterError(f"{self.name} scored {len(output)} of {arena.readings} readings")
        return output


class PyFlink:
    """A job in benchmarks/rivals/ with settings over the cluster's."""

    def __init__(self, name: str, readings: int, script: str, settings: dict[str, str]) -> None:
        self.name, self.readings, self.settings = name, readings, settings
        self.script = ROOT / "benchmarks" / "rivals" / script

    def run(self, arena: Arena, run: str) -> Output:
        return observe(arena.environment, RIVAL, measure.single, self.name, lambda: self._submit(arena, run))

    def _submit(self, arena: Arena, run: str) -> str:
        flink, job_id = FlinkCommandLine(arena.environment), new_job_id()
        flink.run([str(flink_home() / "bin" / "flink"), "run", "-d", f"-D$internal.pipeline.job-id={job_id}",
                   "-p", str(arena.environment.job.parallelism), "-C", connector().as_uri(), "-C", python_jar().as_uri(),
                   "-py", str(self.script), "--spec", str(arena.job(run, self.readings, settings=self.settings))])
        wait_until_running(flink, job_id)
        return job_id


def submit(arena: Arena, run: str) -> str:
    """Start detect on the workload's plan; returns its Flink job's id when every task runs."""
    defaults = arena.environment.job
    deployment = Deployment(defaults.namespace, run, "detect", defaults.parallelism)
    submission = Submission(arena.environment, deployment, None)
    submission.submit(str(arena.directory / PLAN), author_of(arena.environment, "benchmark"), "earliest", defaults.delivery)
    return submission.job_id


def observe(environment: Environment, topic: str, read: Read, name: str, start: Callable[[], str]) -> Output:
    """Start a Flink job, wait for all of its output, end it and read what it wrote. A failure on the way is one, even if Flink
    recovers from it: the figure would be spoilt. Raises ClusterError."""
    flink, before = FlinkCommandLine(environment), measure.ends(environment, topic)
    job, began = start(), time.time_ns() // 1_000_000

    def check() -> None:
        if failure := flink.rest.exception(job):
            raise ClusterError(f"{name} failed: {failure}")

    try:
        measure.wait(environment, topic, before, check, TIMEOUT_S)
    finally:
        flink.cancel(job)
    return measure.collect(environment, topic, before, read, began)
