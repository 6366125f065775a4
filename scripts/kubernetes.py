"""Jobs behind the Flink Kubernetes Operator: each is a FlinkDeployment, applied and deleted with kubectl, and asked through it.

    python -m swapstream.scripts.kubernetes …       what `submit` and the upgrades run to apply one: see `KubernetesJobs.arguments`
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, InvalidSettings, SwapstreamError, UnknownName
from swapstream.scripts.code import shipped
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import JOBS, Client
from swapstream.scripts.flink_deployment import JOB, PART_OF, RESOURCE, state_of
from swapstream.scripts.flink_rest import ENDED, FlinkRest
from swapstream.scripts.kubectl import Kubectl
from swapstream.scripts.manifest import Start, as_yaml, load_template, manifests


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
    code: tuple[str, ...] = ()

    def manifests(self) -> str:
        """As YAML, once the state to begin from is known. Raises InvalidSettings, UnknownName."""
        restore = _when_there(Path(self.restore_from)) if self.restore_from else self.restore
        start = Start(self.job_id, restore, self.leave_sinks, self.checkpoints, tuple(map(Path, self.code)))
        return as_yaml(manifests(load_template(Path(self.template)), JobSpec.read(Path(self.spec)), start))


class KubernetesJobs:
    """Jobs of one namespace. Slots need not be free: the operator asks for pods as a job needs them."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.rest = FlinkRest(environment.flink.url)
        self.kubectl = Kubectl(environment.flink.url)

    def arguments(self, job: str, spec: Path, parallelism: int, job_id: str, restore: str | Path | None = None,
                  bundle: Path | None = None, leave_sinks: bool = False, code: Sequence[str] | None = None) -> list[str]:  # fmt: skip
        """The command that applies the job, with the parallelism that its specification names; all else is as for `JobOperator`.

        Raises UnknownName, InvalidSettings.
        """
        if job not in JOBS:
            raise UnknownName(f"job {job!r}; known: {', '.join(JOBS)}")
        if bundle:
            raise InvalidSettings("--bundle is for a Flink that runs already: the image of a FlinkDeployment holds all that a job needs")
        now = restore if isinstance(restore, str) else None
        later = str(restore) if isinstance(restore, Path) else None
        sent = shipped(self.environment, (JobSpec.read(spec).code if spec.is_file() else ()) if code is None else code)
        flink = self.environment.flink
        application = Application(flink.url, str(spec), str(self.environment.manifest), job_id, now, later, leave_sinks,
                                  flink.checkpoints, tuple(uri.removeprefix("file://") for uri in sent))  # fmt: skip
        return [sys.executable, "-m", __name__, f"-D{msgspec.json.encode(application).decode()}"]

    def manifest(self, arguments: list[str]) -> str:
        """What a command would apply, as YAML."""
        return application_of(arguments).manifests()

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


def application_of(arguments: list[str]) -> Application:
    """What a command is given: -D and an `Application` in JSON."""
    return msgspec.json.decode(arguments[-1].removeprefix("-D"), type=Application)


def _when_there(file: Path) -> str:
    """What somebody is about to write. Raises ClusterError."""
    from swapstream.jobs.restoring import wait_for  # imports pyflink, and is seldom needed

    file.with_name(f"{file.name}.ready").touch()
    return wait_for(file)


def main() -> None:
    """Apply one FlinkDeployment."""
    application = application_of(sys.argv)
    try:
        Kubectl(application.url).apply(application.manifests())
    except SwapstreamError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
