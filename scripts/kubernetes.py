"""Jobs behind the Flink Kubernetes Operator: each is a FlinkDeployment, applied and deleted with kubectl, and asked through it.

    python -m swapstream.scripts.kubernetes …       what `submit` and the upgrades run to apply one: see `KubernetesJobs.arguments`
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, InvalidSettings, SwapstreamError, UnknownName
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import JOBS, Client
from swapstream.scripts.flink_deployment import JOB, PART_OF, RESOURCE, state_of
from swapstream.scripts.flink_rest import ENDED, FlinkRest
from swapstream.scripts.kubectl import Kubectl
from swapstream.scripts.manifest import Start, as_yaml, load_template, manifests

POLL = 0.05


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One FlinkDeployment to be applied. `restore_from`: a file in which there will be the URI of the state to begin from."""

    url: str
    spec: str
    template: str
    job_id: str
    restore: str | None = None
    restore_from: str | None = None
    leave_sinks: bool = False
    checkpoints: str | None = None

    def manifests(self) -> str:
        """As YAML, once the state to begin from is known. Raises InvalidSettings, UnknownName."""
        restore = _when_there(Path(self.restore_from)) if self.restore_from else self.restore
        start = Start(self.job_id, restore, self.leave_sinks, self.checkpoints)
        return as_yaml(manifests(load_template(Path(self.template)), JobSpec.read(Path(self.spec)), start))


class KubernetesJobs:
    """Jobs of one namespace. Slots need not be free: the operator asks for pods as a job needs them."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.rest = FlinkRest(environment.flink.url)
        self.kubectl = Kubectl(environment.flink.url)

    def application(self, job: str, spec: Path, job_id: str, restore: str | Path | None, bundle: Path | None,
                    leave_sinks: bool) -> Application:  # fmt: skip
        """Raises UnknownName, InvalidSettings."""
        if job not in JOBS:
            raise UnknownName(f"job {job!r}; known: {', '.join(JOBS)}")
        if bundle:
            raise InvalidSettings("--bundle is for a Flink that runs already: the image of a FlinkDeployment holds all that a job needs")
        flink = self.environment.flink
        return Application(
            flink.url, str(spec), str(self.environment.manifest), job_id, restore if isinstance(restore, str) else None,
            str(restore) if isinstance(restore, Path) else None, leave_sinks, flink.checkpoints,
        )  # fmt: skip

    def arguments(self, job: str, spec: Path, parallelism: int, job_id: str, restore: str | Path | None = None,
                  bundle: Path | None = None, leave_sinks: bool = False, code: Sequence[str] | None = None) -> list[str]:  # fmt: skip
        """The command that applies the job, with the parallelism that its specification names. `restore` is a URI, or a file in which
        there will be one: it is waited for."""
        application = self.application(job, spec, job_id, restore, bundle, leave_sinks)
        return [sys.executable, "-m", __name__, f"-D{msgspec.json.encode(application).decode()}"]

    def shell_line(self, arguments: list[str]) -> str:
        return shlex.join(arguments)

    def run(self, arguments: list[str]) -> None:
        """Apply, and return when the cluster has taken the manifests. Raises ClusterError with the line that kubectl gives."""
        self.start(arguments).wait()

    def start(self, arguments: list[str]) -> Client:
        logs = self.environment.path / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return Client(arguments, dict(os.environ), logs / "kubectl-apply.log", "applying the job")

    def state(self, job_id: str) -> str | None:
        """The job's state, None when no FlinkDeployment is meant to run it."""
        return self.states().get(job_id)

    def states(self) -> dict[str, str]:
        return {found["metadata"]["labels"][JOB]: state_of(found) for found in self.kubectl.items("flinkdeployment", PART_OF)}

    def free_slots(self) -> int:
        return int(self.rest.overview()["slots-available"])

    def is_running(self, job_id: str) -> bool:
        """Whether every task runs, so that records are read. Raises ClusterError when the job has ended instead."""
        [found] = self.kubectl.items("flinkdeployment", PART_OF | {JOB: job_id}) or [{}]
        state = state_of(found) if found else "gone"
        if state in ENDED or not found:
            raise ClusterError(f"job {job_id} is {state}: {found.get('status', {}).get('error') or 'kubectl describe tells more'}")
        return state == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in self.rest.job(job_id)["vertices"])

    def cancel(self, job_id: str, seconds: float = 60.0) -> None:
        """Delete the job's FlinkDeployment and wait for its end; its checkpoints stay. One that is not known is left alone."""
        for found in self.kubectl.items("flinkdeployment", PART_OF | {JOB: job_id}):
            labels = PART_OF | {RESOURCE: found["metadata"]["name"]}
            self.kubectl.delete("flinkdeployment,configmap", labels, seconds)


def _when_there(path: Path) -> str:
    """The first line of a file that somebody is about to write; FILE.ready says that nothing else is waited for."""
    path.with_name(f"{path.name}.ready").touch()
    while not (path.is_file() and (found := path.read_text().strip())):
        time.sleep(POLL)
    return found


def main() -> None:
    """Apply one FlinkDeployment, given as -D and an `Application` in JSON."""
    application = msgspec.json.decode(sys.argv[1].removeprefix("-D"), type=Application)
    try:
        Kubectl(application.url).apply(application.manifests())
    except SwapstreamError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
