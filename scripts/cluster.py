"""`swapstream up`, `down` and `status`: a broker and a Flink cluster on this machine."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import timedelta
from typing import Any

import click
import msgspec

from swapstream.models.errors import ClusterError
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment, load_environment, recorded
from swapstream.scripts.flink_rest import ENDED, FlinkRest
from swapstream.scripts.launch import launch, remove_socket, wait_until_ready
from swapstream.scripts.locks import locked
from swapstream.scripts.processes import Supervisor, marked, sweep
from swapstream.scripts.shard_status import SHARD_COLUMNS, held_back, shards_of
from swapstream.scripts.topics import ensure_topics, existing_topics, warn_of_differences
from swapstream.scripts.trusting import trust_first
from swapstream.scripts.upgrade_progress import under_way

DATA = ("kafka", "checkpoints", "savepoints", "jobs", "tmp", "logs")


@click.command("up")
@click.pass_obj
def up_command(name: str) -> None:
    """Start the broker and the Flink cluster, create the topics, and make a key that signs where nobody is trusted yet.

    Does nothing where they run already. Deployments that were running at the last `down` come back from their newest
    checkpoint.
    """
    began = time.monotonic()
    environment = up(name)
    say(f"up in {time.monotonic() - began:.1f} s: broker {environment.broker.servers}, Flink {environment.flink.url}")


def up(name: str) -> Environment:
    """Start what is not running and wait until it answers; returns the environment with its ports.

    Raises ClusterError naming the log of what does not come up; nothing is left running then.
    """
    with locked(load_environment(name).path / "up.lock"):
        environment = load_environment(name)
        supervisor = Supervisor(environment.path, recorded(environment).socket)
        if supervisor.running() or not environment.starts_anything:
            wait_until_ready(environment, supervisor)
        else:
            environment, supervisor = _start(name)
    warn_of_differences(ensure_topics(environment))
    if not environment.broker.bootstrap:
        trust_first(environment)
    return environment


def _start(name: str) -> tuple[Environment, Supervisor]:
    try:
        environment, supervisor = launch(name)
        wait_until_ready(environment, supervisor)
    except BaseException:  # Ctrl-C as well
        down(load_environment(name))
        raise
    return environment, supervisor


@click.command("down")
@click.option("--wipe", is_flag=True, help="Delete topics, checkpoints, deployments and logs too (never the store and keys).")
@click.pass_obj
def down_command(name: str, wipe: bool) -> None:
    """Stop everything that `up` started; no process is left."""
    environment, began = load_environment(name), time.monotonic()
    with locked(environment.path / "up.lock"):
        swept = down(environment)
        for part in DATA if wipe else ():
            shutil.rmtree(environment.path / part, ignore_errors=True)
    say(f"down in {time.monotonic() - began:.1f} s" + (f" (killed {len(swept)} that did not stop)" if swept else ""))


def down(environment: Environment) -> list[int]:
    """Stop the cluster; returns the pids that had to be killed. Does nothing where nothing runs."""
    socket = recorded(environment).socket
    if socket:
        Supervisor(environment.path, socket).shutdown()
        remove_socket(environment, socket)
    return sweep(environment.path)


@click.command("status")
@json_option
@click.pass_obj
def status_command(name: str, as_json: bool) -> None:
    """Show processes, jobs, what each of their shards does, and topics. Exits with 6 when the cluster is not up.

    A shard's lag is as of the job's last checkpoint.
    """
    found = status(load_environment(name))
    if as_json:
        click.echo(json.dumps(found))
    else:
        show([row | {"uptime": timedelta(seconds=row["uptime"])} for row in found["processes"]],
             ["name", "state", "pid", "uptime", "restarts"], False, f"Processes in {found['directory']}")
        show(found["jobs"], ["deployment", "side", "state", "job", "duration_s", "checkpoints", "failed_checkpoints"], False,
             "Jobs")
        show(found["shards"], SHARD_COLUMNS, False, "Shards")
        show(found["topics"], ["role", "topic", "exists"], False, "Topics")
    for line in found["held_back"]:
        say(f"{line}; `swapstream doctor` tells what to do")
    for line in found["upgrades"]:
        say(line)
    if not found["up"]:
        say(f"the cluster is not up: {what_is_wrong(load_environment(name), found)}")
        sys.exit(ClusterError.exit_code)


def what_is_wrong(environment: Environment, found: dict[str, Any]) -> str:
    """Why a status is not `up`, and what to do."""
    ill = [process["name"] for process in found["processes"] if process["state"] != "RUNNING"]
    if ill:
        return f"{', '.join(ill)} will be restarted; logs are in {environment.path / 'logs'}"
    if marked(environment.path):
        return "processes without a supervisor are left; `swapstream down` ends them"
    return "start it with `swapstream up`"


def status(environment: Environment) -> dict[str, Any]:
    """Everything that `status` shows; what does not answer is empty."""
    processes = Supervisor(environment.path, recorded(environment).socket).processes()
    there = bool(processes) or not environment.starts_anything
    jobs = _jobs(environment) if there else []
    running = [job["deployment"] for job in jobs if job["state"] not in ENDED]
    return {"up": there and all(process.state == "RUNNING" for process in processes),
            "directory": str(environment.path), "broker": environment.broker.servers, "flink": environment.flink.url,
            "processes": [msgspec.structs.asdict(process) for process in processes],
            "jobs": jobs, "shards": shards_of(environment, running), "held_back": held_back(environment) if there else [],
            "upgrades": under_way(Deployments(environment)), "topics": _topics(environment) if there else []}


def _jobs(environment: Environment) -> list[dict[str, Any]]:
    rest, sides = FlinkRest(environment.flink.url), _sides(Deployments(environment))
    try:
        return [_job(rest, job) | sides.get(job["jid"], {"side": None, "generation": None}) for job in rest.jobs()]
    except ClusterError:
        return []


def _sides(deployments: Deployments) -> dict[str, dict[str, Any]]:
    """Flink job → its generation, and which of two it is while another is to take over."""
    every = list(deployments.every())
    green = {record.name for record in every if record.green}
    return {job: {"side": "green" if record.green else "blue" if record.name in green else None, "generation": record.generation}
            for record in every for job in record.job_ids}


def _job(rest: FlinkRest, job: dict[str, Any]) -> dict[str, Any]:
    counts = {} if job["state"] in ENDED else rest.checkpoints(job["jid"]).get("counts", {})
    return {"deployment": job["name"], "state": job["state"], "job": job["jid"], "duration_s": job["duration"] // 1000,
            "checkpoints": counts.get("completed"), "failed_checkpoints": counts.get("failed")}


def _topics(environment: Environment) -> list[dict[str, Any]]:
    try:
        there = existing_topics(environment)
    except ClusterError:
        return []
    return [{"role": role, "topic": topic.name, "exists": topic.name in there}
            for role, topic in environment.topics.by_role().items()]
