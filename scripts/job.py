"""`swapstream submit` and `cancel`: one deployment of one job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from swapstream.models.errors import InvalidSettings
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.code import archives
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.deployments import Deployment, Deployments, check_name
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.flink_cli import JOBS
from swapstream.scripts.job_operator import job_operator
from swapstream.scripts.kubernetes import KubernetesJobs
from swapstream.scripts.offsets import Start
from swapstream.scripts.publish import author_of
from swapstream.scripts.submission import Submission
from swapstream.scripts.upgrade_progress import ProgressFile

UNDER_A_PLAN = [job for job in JOBS if job != "rekey"]


@click.command("submit")
@click.argument("job", metavar="JOB", type=click.Choice(UNDER_A_PLAN))
@click.option("--plan", "plan_file", required=True, type=click.Path(dir_okay=False), help="Plan file (YAML).")
@click.option("--deployment", help="Name of the running set of jobs.  [default: the plan's name]")
@click.option("--parallelism", type=click.IntRange(1, 128), help="Subtasks.  [default: the environment's]")
@click.option("--delivery", type=click.Choice(["exactly_once", "at_least_once"]),
              help="How often a result may be there after a failure.  [default: the environment's]")
@click.option("--start", type=click.Choice(["committed", "earliest", "latest"]), default="committed", show_default=True,
              help="Where to read telemetry from: where the last run of this deployment was, or earliest, or latest.")
@click.option("--from", "restore", help="Resume state: a checkpoint's or savepoint's directory (or URI), or `latest` of both.")
@click.option("--force", is_flag=True, help="Resume state that is so old that output was lost; the offsets at risk are said.")
@click.option("--bundle", type=click.Path(file_okay=False), help="Send this bundle along (`swapstream bundle`): workers need nothing else.")
@click.option("--code", "code", multiple=True, type=click.Path(), metavar="FILE",
              help="Send this file or package along as well, beside the plan's code: a later swap may use it.")
@click.option("--why", default="", help="The reason, for the ledger.")
@click.option("--dry-run", is_flag=True, help="Print the exact `flink run` line and change nothing.")
@click.option("--manifest", is_flag=True, help="Print what kubectl would apply, and leave that to you (`flink.operator: kubernetes`).")
@json_option
@click.pass_obj
def submit_command(name: str, job: str, plan_file: str, deployment: str | None, parallelism: int | None, delivery: Any,
                   start: Start, restore: str | None, force: bool, bundle: str | None, code: Sequence[str], why: str, dry_run: bool,
                   manifest: bool, as_json: bool) -> None:  # fmt: skip
    """Publish a plan and run JOB (detect) under it; returns when every task runs."""
    environment = load_environment(name)
    plan = load_plan_file(plan_file)
    found = Deployment(environment.job.namespace, check_name(deployment or plan.name), job,
                       parallelism or environment.job.parallelism, bundle=str(Path(bundle).resolve()) if bundle else None)
    submission = Submission(environment, found, restore, sorted({*plan.digests, *(archive.digest for archive in archives(code))}))
    if dry_run:
        click.echo(submission.shell_line())
        return
    began, author = time.monotonic(), author_of(environment, why)
    delivery = delivery or environment.job.delivery
    if manifest:
        click.echo(for_kubernetes(submission, lambda: submission.submit(plan_file, author, start, delivery, force, apply=False)), nl=False)
        return
    row = submission.submit(plan_file, author, start, delivery, force)
    say(f"{found.full_name} runs after {time.monotonic() - began:.1f} s")
    show([row], ["deployment", "job", "plan", "restored"], as_json)


def for_kubernetes(submission: Submission, prepare: Callable[[], object]) -> str:
    """What is to be applied, as YAML, once all else is done. Raises InvalidSettings where jobs are started by `flink run`."""
    flink = submission.flink
    if not isinstance(flink, KubernetesJobs):
        raise InvalidSettings("--manifest: `flink.operator` is command in this environment; it must be kubernetes")
    prepare()
    return flink.manifest(submission.arguments())


@click.command("cancel")
@click.argument("deployment")
@click.pass_obj
def cancel_command(name: str, deployment: str) -> None:
    """Stop DEPLOYMENT's job; its checkpoints stay, for `submit --from latest`."""
    say(f"{cancel(load_environment(name), deployment).full_name} is cancelled")


def cancel(environment: Environment, deployment: str) -> Deployment:
    """Stop a deployment's job and keep it stopped. Raises UnknownName, Conflict, ClusterError."""
    deployments, flink = Deployments(environment), job_operator(environment)
    ProgressFile(deployments, deployment).refuse_any()  # at once: what starts a job holds the lock for seconds
    with deployments.lock(deployment):
        found = deployments.require(deployment)
        ProgressFile(deployments, deployment).refuse_any()
        deployments.save(found.stopped())  # first, or the keeper brings it back
        if found.job_id:
            flink.cancel(found.job_id)
    return found
