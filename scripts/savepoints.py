"""`swapstream savepoint` and `savepoints`: taking one while the job runs on, and which there are."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.scripts.checkpoints import retained
from swapstream.scripts.console import err, json_option, show
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.known import known_of
from swapstream.scripts.publish import Author, author_of
from swapstream.scripts.savepoint_files import Saved, Shelf, held_by, new_id
from swapstream.scripts.upgrade_progress import ProgressFile

COLUMNS = ("deployment", "id", "kind", "job", "extractor", "schema", "size", "age")
PATIENCE = 600.0
"""Seconds that a savepoint may take."""


@click.command("savepoint")
@click.argument("deployment")
@click.option("--native", is_flag=True, help="In the state backend's own format: quicker, but no other backend can read it.")
@click.option("--why", default="", help="The reason, kept with it.")
@json_option
@click.pass_obj
def savepoint_command(name: str, deployment: str, native: bool, why: str, as_json: bool) -> None:
    """Save the state of DEPLOYMENT's job, which runs on. `submit --from` starts from it."""
    environment = load_environment(name)
    deployments = Deployments(environment)
    found = deployments.require(deployment)
    ProgressFile(deployments, deployment).refuse_any()
    with err.status(f"saving the state of {found.full_name}"):
        saved = save(environment, found, author_of(environment, why), native)
    show([row(saved)], COLUMNS, as_json)


@click.command("savepoints")
@click.argument("deployment", required=False)
@json_option
@click.pass_obj
def savepoints_command(name: str, deployment: str | None, as_json: bool) -> None:
    """Show what can be started from: savepoints and retained checkpoints, of DEPLOYMENT or of all, the newest first.

    `submit --from` takes their ids; with --json the rows have what else is known of them: where they lie, plan, epoch, by whom and why.
    """
    environment = load_environment(name)
    deployments = Deployments(environment)
    chosen = [deployments.require(deployment)] if deployment else list(deployments)
    show([line for found in chosen for line in rows(environment, found)], COLUMNS, as_json)


def save(environment: Environment, found: Deployment, author: Author, native: bool = False, green: bool = False) -> Saved:
    """A savepoint of a running job, with the file that tells what it holds. Raises ClusterError."""
    saved, shelf = announced(environment, found, author, native, green), Shelf(environment, found.name)
    rest = FlinkRest(environment.flink.url)
    request = rest.take_savepoint(found.job_id, shelf.target(saved.id), saved.format.upper())
    saved = msgspec.structs.replace(saved, location=finished(rest, found.job_id, request, PATIENCE))
    shelf.save(saved)
    return saved


def announced(
    environment: Environment, found: Deployment, author: Author, native: bool, green: bool = False, stopped: bool = False
) -> Saved:
    """What is to be told of a savepoint that is about to be taken; its location is not known yet."""
    known = known_of(environment, found.namespace, found.name)
    plan = known.plan(known.in_force.plan)
    told = JobSpec.read(Deployments(environment).spec(found.name, green))
    return Saved(new_id(found), "", found.job_id, int(time.time() * 1000), "native" if native else "canonical", told,
                 known.in_force.epoch, plan.name, plan.digest, held_by(plan), stopped, author.who, author.why)  # fmt: skip


def finished(rest: FlinkRest, job_id: str, request: str, seconds: float) -> str:
    """Where a savepoint lies that was asked for, once it is complete. Raises ClusterError with Flink's reason, or after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        answer = rest.savepoint(job_id, request)
        if answer["status"]["id"] == "COMPLETED":
            return location(answer["operation"], job_id)
        if time.monotonic() > until:
            raise ClusterError(f"the savepoint of job {job_id} is not complete after {seconds:.0f} s")
        time.sleep(0.05)


def location(operation: dict[str, Any], job_id: str) -> str:
    """Of Flink's answer. Raises ClusterError."""
    if "location" in operation:
        return str(operation["location"])
    trace = str(operation.get("failure-cause", {}).get("stack-trace", "")).splitlines()
    causes = [line for line in trace if line and not line.startswith("\t")]
    raise ClusterError(f"job {job_id} could not be saved: {causes[-1].removeprefix('Caused by: ') if causes else 'Flink does not say why'}")


def rows(environment: Environment, found: Deployment) -> list[dict[str, Any]]:
    """A deployment's savepoints and checkpoints, the newest first."""
    saved = [row(one) for one in Shelf(environment, found.name).every()]
    kept = [checkpoint_row(found, path) for path in retained(environment.checkpoints, (*found.earlier, *found.job_ids))]
    return sorted([*saved, *kept], key=lambda one: float(one["age_s"]))


def row(saved: Saved) -> dict[str, Any]:
    """As it is shown."""
    told, size = saved.told, saved.size
    return {
        "deployment": told.name, "kind": f"savepoint ({saved.format})", "id": saved.id, "job": saved.job_id,
        "generation": told.generation, "plan": saved.plan, "plan_digest": saved.plan_digest, "epoch": saved.epoch,
        "extractor": ", ".join(map(str, saved.held)), "schema": ", ".join(one.schema for one in saved.held),
        "parallelism": told.parallelism, "state_backend": told.state_backend, **weighed(size), **aged(saved.age),
        "stopped": saved.stopped, "who": saved.who, "why": saved.why, "location": saved.location,
    }  # fmt: skip


def checkpoint_row(found: Deployment, path: Path) -> dict[str, Any]:
    """Of a retained checkpoint nobody has written down what it holds, but for its job."""
    own = [file for file in path.parent.rglob("*") if file.is_file() and (file.parent == path or "shared" in file.parts)]
    job, made = path.parent.name, (path / "_metadata").stat().st_mtime
    return {"deployment": found.full_name, "kind": "checkpoint", "id": f"{job}/{path.name}", "job": job,
            **weighed(sum(file.stat().st_size for file in own)), **aged(max(0.0, time.time() - made)),
            "location": path.as_uri()}  # fmt: skip


def weighed(size: int | None) -> dict[str, Any]:
    return {"size": None if size is None else f"{size / 1e6:,.1f} MB", "size_bytes": size}


def aged(seconds: float) -> dict[str, Any]:
    return {"age": str(timedelta(seconds=round(seconds))), "age_s": round(seconds, 1)}
