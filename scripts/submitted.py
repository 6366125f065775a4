"""What is known here of a deployment's job: the plan that it was submitted with, and whether it runs."""

from __future__ import annotations

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, UnknownName
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_rest import FlinkRest


def submission(environment: Environment, namespace: str, deployment: str) -> JobSpec | None:
    """What the job was told; None for a deployment that was not submitted from here."""
    path = Deployments(environment).spec(deployment)
    return JobSpec.read(path) if namespace == environment.job.namespace and path.is_file() else None


def group_of(environment: Environment, namespace: str, deployment: str) -> str:
    """The consumer group that the job which answers reads telemetry as; of a deployment submitted elsewhere, its first one's."""
    spec = submission(environment, namespace, deployment)
    return spec.group if spec else f"{namespace}.{deployment}"


def submitted_plan(environment: Environment, namespace: str, deployment: str) -> str | None:
    """The digest of the plan of epoch 0; None for a deployment that was not submitted from here."""
    spec = submission(environment, namespace, deployment)
    return (spec.plan or None) if spec else None


def runs(environment: Environment, namespace: str, deployment: str) -> bool:
    """Whether the environment's Flink says that the deployment's job is running."""
    try:
        jobs = FlinkRest(environment.flink.url).jobs()
    except ClusterError:
        return False
    return any((job["name"], job["state"]) == (f"{namespace}.{deployment}", "RUNNING") for job in jobs)


def the_deployment(environment: Environment, given: str | None) -> str:
    """The deployment that is meant: the given one, else the only one under a plan that should be running here. Raises UnknownName."""
    if given:
        return given
    known = [found.name for found in Deployments(environment) if found.desired == "running" and found.job != "rekey"]
    if len(known) != 1:
        raise UnknownName(f"which deployment? Name it with --deployment; running here: {', '.join(known) or 'none'}")
    return known[0]


