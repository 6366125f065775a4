"""The candidates: each starts its job on telemetry from the beginning, says where its scores go and how to read them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks import measure, workload
from swapstream.models.artifact import Artifact
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import FlinkCommandLine, connector, new_job_id, python_jar
from swapstream.scripts.job import Submission, wait_until_running
from swapstream.scripts.publish import Author
from swapstream.scripts.rendering import flink_home

JOB = Path(__file__).with_name("per_record.py")

DEFAULTS = {
    "execution.buffer-timeout.interval": "100 ms",
    "python.fn-execution.bundle.size": "1000",
    "python.fn-execution.bundle.time": "1000",
    "python.state.cache-size": "1000",
}
"""PyFlink's own, spelled out because the cluster's configuration has others."""

RAISED = DEFAULTS | {"python.fn-execution.bundle.size": "100000", "python.state.cache-size": "100000"}


class Candidate(Protocol):
    """A job to be measured. `share` is the part of the readings that it gets, so that a slow one ends in minutes."""

    name: str
    share: float
    topic: str

    @staticmethod
    def read(value: bytes) -> measure.Columns:
        """The scores in a message of `topic`."""

    def start(self, environment: Environment, run: str, stop: dict[int, int]) -> str:
        """Submit, to read telemetry up to the offsets in `stop`; returns the Flink job's id when every task runs."""


class Detect:
    """Swapstream's main job, as `swapstream submit detect` runs it: without end, so it always gets all readings."""

    name, share, topic, read = "detect", 1.0, "scores", staticmethod(measure.frames)

    def __init__(self, plan: Path) -> None:
        self.plan = plan

    def start(self, environment: Environment, run: str, stop: dict[int, int]) -> str:
        defaults = environment.job
        deployment = Deployment(defaults.namespace, run, "detect", defaults.parallelism)
        submission = Submission(environment, deployment, None)
        submission.submit(str(self.plan), Author("benchmark"), "earliest", "exactly_once")
        return submission.job_id


class PerRecord:
    """per_record.py under some settings of Flink."""

    read = staticmethod(measure.single)

    def __init__(self, name: str, share: float, settings: dict[str, str], model: Artifact, directory: Path) -> None:
        self.name, self.share, self.settings, self.model, self.directory = name, share, settings, model, directory
        self.topic = workload.RIVAL

    def start(self, environment: Environment, run: str, stop: dict[int, int]) -> str:
        flink, job_id, file = FlinkCommandLine(environment), new_job_id(), self.directory / f"{run}.json"
        file.write_bytes(msgspec.json.encode(self._job(environment, run, stop)))
        flink.run([str(flink_home() / "bin" / "flink"), "run", "-d", f"-D$internal.pipeline.job-id={job_id}",
                   "-p", str(environment.job.parallelism), "-C", connector().as_uri(), "-C", python_jar().as_uri(),
                   "-py", str(JOB), "--spec", str(file)])
        wait_until_running(flink, job_id)
        return job_id

    def _job(self, environment: Environment, run: str, stop: dict[int, int]) -> dict[str, object]:
        model = {name: self.model.parameters[name].tolist() for name in ("mean", "deviation")}
        return {"bootstrap": environment.broker.servers, "group": run, "source": environment.topics.telemetry.name,
                "sink": self.topic, "stop": sorted(stop.items()), "parallelism": environment.job.parallelism, "settings": self.settings,
                "checkpoint_ms": environment.job.checkpoint_ms,
                "model": model | {"threshold": self.model.manifest.threshold, "halflife": workload.HALFLIFE}}
