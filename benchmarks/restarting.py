"""The same change by stop-with-savepoint and restart: the job ends, and begins again under another plan from its savepoint."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import measure
from benchmarks.changing import PATIENCE_S, Target, must_be, settle
from benchmarks.cuts import Change
from swapstream.models.errors import ClusterError
from swapstream.scripts.acknowledge import Ledger, activations
from swapstream.scripts.controller import Controller
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.flink_rest import ENDED, FlinkRest
from swapstream.scripts.publish import author_of
from swapstream.scripts.submission import Submission

REST_S = 10.0
"""Flink may be slow to answer while it is as busy as here."""


class Restart(msgspec.Struct, frozen=True):
    """The change as it was announced, where telemetry ended when the job was told to stop, and where it took place by the ledger: nobody
    can say that before. `seconds`: from the one to when every shard had said so."""

    announced: Change
    recorded: Change
    plan: str
    seconds: float


def restart(environment: Environment, name: str, target: Target) -> Restart:
    """Stop, change the plan, start. The restored shards follow a cut that was written while nothing ran, from their first record on
    after they have read it. Raises ClusterError."""
    author = author_of(environment, "benchmark")
    with closing(Ledger(environment)) as ledger:
        ends = measure.ends(environment, environment.topics.telemetry.name)
        announced = time.time() * 1000
        savepoint = stop(environment, name)
        with Controller(environment, environment.job.namespace, name, author) as controller:
            cut = controller.arrive(target.plan.digest).cut
        submission = Submission(environment, Deployments(environment).require(name), str(savepoint))
        submission.submit(str(target.file), author, "committed", environment.job.delivery)
        rows = list(activations(ledger, cut, set(ends), PATIENCE_S))
    must_be("activated", rows)
    told, did = ({partition: first - 1 for partition, first in found} for found in
                 (ends.items(), [(row["partition"], row["offset"]) for row in rows]))
    return Restart(Change(cut.epoch, announced, told), Change(cut.epoch, announced, did), cut.plan, time.time() - announced / 1000)


def stop(environment: Environment, name: str) -> Path:
    """Stop with a savepoint and keep it stopped; returns the savepoint's directory. Raises ClusterError."""
    deployments, flink = Deployments(environment), FlinkCommandLine(environment)
    with deployments.lock(name):
        found = deployments.require(name)
        deployments.save(found.stopped())  # first, or the keeper brings it back
        job = found.job_ids[-1]
        rest = FlinkRest(environment.flink.url, REST_S)
        trigger = rest.stop(job)
        where: list[str] = []

        def stopped() -> bool:
            answer = rest.savepoint(job, trigger)
            if answer["status"]["id"] == "COMPLETED":
                where.append(location(answer["operation"]))
            return bool(where)

        settle(f"stopping job {job} with a savepoint", stopped, PATIENCE_S)
        settle(f"the end of job {job}", lambda: flink.state(job) in ENDED, PATIENCE_S)
    return Path("/" + where[0].removeprefix("file:").lstrip("/"))


def location(operation: dict[str, Any]) -> str:
    if "location" not in operation:
        raise ClusterError(f"the savepoint failed: {str(operation.get('failure-cause', {}).get('stack-trace', ''))[:300]}")
    return str(operation["location"])
