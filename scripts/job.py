"""`swapstream submit` and `cancel`: one deployment of one job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.jobs.spec import JobSpec, check_restorable
from swapstream.models.errors import ClusterError, Conflict, UnknownName
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.access import require
from swapstream.scripts.checkpoints import checkpoint_or_savepoint, is_checkpoint, newest_checkpoint
from swapstream.scripts.console import err, json_option, say, show
from swapstream.scripts.deployments import Deployment, Deployments, check_name
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.flink_cli import JOBS, FlinkCommandLine, new_job_id
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.offsets import Start, start_offsets
from swapstream.scripts.publish import Author, author_of, publish_plan
from swapstream.scripts.topics import existing_topics

PATIENCE = 120.0
"""Seconds from the submission until every task runs; about 10 are usual."""


@click.command("submit")
@click.argument("job", metavar="JOB", type=click.Choice(list(JOBS)))
@click.option("--plan", "plan_file", required=True, type=click.Path(dir_okay=False), help="Plan file (YAML).")
@click.option("--deployment", help="Name of the running set of jobs.  [default: the plan's name]")
@click.option("--parallelism", type=click.IntRange(1, 128), help="Subtasks.  [default: the environment's]")
@click.option("--delivery", type=click.Choice(["exactly_once", "at_least_once"]),
              help="How often a result may be there after a failure.  [default: the environment's]")
@click.option("--start", type=click.Choice(["committed", "earliest", "latest"]), default="committed", show_default=True,
              help="Where to read telemetry from: where the last run of this deployment was, or earliest, or latest.")
@click.option("--from", "restore", help="Resume state: a checkpoint's or savepoint's directory (or URI), or `latest`.")
@click.option("--bundle", type=click.Path(file_okay=False), help="Send this bundle along (`swapstream bundle`): workers need nothing else.")
@click.option("--why", default="", help="The reason, for the ledger.")
@click.option("--dry-run", is_flag=True, help="Print the exact `flink run` line and change nothing.")
@json_option
@click.pass_obj
def submit_command(name: str, job: str, plan_file: str, deployment: str | None, parallelism: int | None,
                   delivery: Any, start: Start, restore: str | None, bundle: str | None, why: str, dry_run: bool, as_json: bool) -> None:
    """Publish a plan and run JOB (detect) under it; returns when every task runs."""
    environment = load_environment(name)
    found = Deployment(environment.job.namespace, check_name(deployment or load_plan_file(plan_file).name), job,
                       parallelism or environment.job.parallelism, bundle=str(Path(bundle).resolve()) if bundle else None)
    submission = Submission(environment, found, restore)
    if dry_run:
        click.echo(submission.shell_line())
        return
    began = time.monotonic()
    row = submission.submit(plan_file, author_of(environment, why), start, delivery or environment.job.delivery)
    say(f"{found.full_name} runs after {time.monotonic() - began:.1f} s")
    show([row], ["deployment", "job", "plan", "restored"], as_json)


class Submission:
    """One deployment about to start."""

    def __init__(self, environment: Environment, deployment: Deployment, restore: str | None) -> None:
        self.environment, self.deployment = environment, deployment
        self.flink = FlinkCommandLine(environment)
        self.deployments = Deployments(environment)
        earlier = self.deployments.find(deployment.name)
        self.earlier_jobs = earlier.job_ids if earlier else ()
        self.restore = self._restore(restore)
        self.job_id = new_job_id()

    def arguments(self) -> list[str]:
        bundle = self.deployment.bundle
        return self.flink.arguments(self.deployment.job, self.deployments.spec(self.deployment.name),
                                    self.deployment.parallelism, self.job_id, self.restore, Path(bundle) if bundle else None)

    def shell_line(self) -> str:
        return self.flink.shell_line(self.arguments())

    def submit(self, plan_file: str, author: Author, start: Start, delivery: Any) -> dict[str, Any]:
        """Publish, submit, wait. What has been refused or fails is not kept as a deployment. Raises SwapstreamError."""
        with self.deployments.lock(self.deployment.name):
            self._check()
            offsets = start_offsets(self.environment, self.deployment.full_name, start)
            self._check_state(self._specification("", 0, offsets, delivery))
            plan, definitions = publish_plan(self.environment, self.deployment.namespace, plan_file, author)
            specification = self._specification(plan.digest, definitions.position, offsets, delivery)
            specification.write(self.deployments.spec(self.deployment.name))
            running = msgspec.structs.replace(self.deployment, job_ids=self.earlier_jobs).with_job(self.job_id)
            self.deployments.save(running)
            try:
                self._run()
            except BaseException:
                self.deployments.save(running.stopped())
                raise
        return {"deployment": self.deployment.full_name, "job": self.job_id, "plan": plan.name, "plan_digest": plan.digest,
                "restored": self.restore}

    def _restore(self, asked: str | None) -> str | None:
        if asked != "latest":
            return checkpoint_or_savepoint(asked) if asked else None
        found = newest_checkpoint(self.environment.checkpoints, self.earlier_jobs)
        newest = found.as_uri() if found else self._remembered()
        if newest is None:
            raise UnknownName(f"--from latest: no checkpoint of {self.deployment.full_name} is known; "
                              "if there is one, name its directory or URI")
        return newest

    def _remembered(self) -> str | None:
        """The newest checkpoint that somebody else's cluster remembers of the last job."""
        if not self.environment.flink.rest or not self.earlier_jobs or self.flink.state(self.earlier_jobs[-1]) is None:
            return None
        completed = self.flink.rest.checkpoints(self.earlier_jobs[-1]).get("latest", {}).get("completed")
        return completed["external_path"] if completed else None

    def _check_state(self, after: JobSpec) -> None:
        """The state must fit what this job is told: its last run's settings are in that one's specification."""
        path = self.deployments.spec(self.deployment.name)
        if self.restore and path.is_file():
            check_restorable(JobSpec.read(path), after, not is_checkpoint(self.restore))

    def _check(self) -> None:
        """Everything that would make the job fail later is said now, in one line."""
        states = self.flink.states()
        for job_id in self.earlier_jobs:
            if states.get(job_id, "CANCELED") not in ENDED:
                raise Conflict(f"deployment {self.deployment.full_name} runs already, as job {job_id}; "
                               f"`swapstream cancel {self.deployment.name}` first, or choose another --deployment")
        overview = self.flink.rest.overview()
        free, total = overview["slots-available"], overview["slots-total"]
        if free < self.deployment.parallelism:
            raise ClusterError(f"{self.deployment.parallelism} slots are needed and {free} of {total} are free; cancel a "
                               "job, lower --parallelism, or raise flink.slots in the environment and restart it")
        require(self.environment, self.deployment.name)
        there = existing_topics(self.environment)
        missing = [topic.name for topic in self.environment.topics.by_role().values() if topic.name not in there]
        if missing:
            raise UnknownName(f"topics {', '.join(missing)} do not exist; `swapstream topics` creates them")

    def _specification(self, plan: str, end: int, offsets: dict[int, int], delivery: Any) -> JobSpec:
        defaults, topics = self.environment.job, self.environment.topics.by_role()
        return JobSpec(
            job=self.deployment.job, namespace=self.deployment.namespace, deployment=self.deployment.name,
            plan=plan, parameters_end=end, bootstrap=self.environment.broker.servers,
            topics={role: topic.name for role, topic in topics.items()}, partitions=len(offsets), start_offsets=offsets,
            parallelism=self.deployment.parallelism, delivery=delivery, **defaults.pace(delivery),
            checkpoint_ms=defaults.checkpoint_ms, transaction_timeout_ms=defaults.transaction_timeout_ms,
            state_backend=defaults.state_backend, snapshot_every_ms=defaults.snapshot_every_ms,
            kafka=self.environment.broker.security.java(), store=str(self.environment.store),
            store_prefixes=self.environment.models.allowed)

    def _run(self) -> None:
        with err.status(f"submitting {self.deployment.full_name}") as shown:
            self.flink.run(self.arguments())
            shown.update(f"waiting for the tasks of {self.deployment.full_name}")
            try:
                wait_until_running(self.flink, self.job_id)
            except BaseException:
                self.flink.cancel(self.job_id)
                raise


def wait_until_running(flink: FlinkCommandLine, job_id: str, seconds: float = PATIENCE) -> None:
    """Return when every task runs. Raises ClusterError with the newest failure when that takes too long."""
    deadline = time.monotonic() + seconds
    while not flink.is_running(job_id):
        if time.monotonic() > deadline:
            raise ClusterError(f"job {job_id} does not run after {seconds:.0f} s: "
                               f"{flink.rest.exception(job_id) or 'its tasks are still being started'}")
        time.sleep(0.1)


@click.command("cancel")
@click.argument("deployment")
@click.pass_obj
def cancel_command(name: str, deployment: str) -> None:
    """Stop DEPLOYMENT's job; its checkpoints stay, for `submit --from latest`."""
    say(f"{cancel(load_environment(name), deployment).full_name} is cancelled")


def cancel(environment: Environment, deployment: str) -> Deployment:
    """Stop a deployment's job and keep it stopped. Raises UnknownName, ClusterError."""
    deployments, flink = Deployments(environment), FlinkCommandLine(environment)
    with deployments.lock(deployment):
        found = deployments.require(deployment)
        deployments.save(found.stopped())  # first, or the keeper brings it back
        for job_id in found.job_ids[-1:]:
            flink.cancel(job_id)
    return found
