"""A job that holds its input until it is released: what its shards say, and what is said of one that can't run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.new_job import NewJob
from tests.support.flink import FakeFlink

TOLD = JobSpec("detect", "prod", "pumps", "p", 0, "b:1", {"telemetry": "t"}, 2, {0: 0, 1: 0}, generation=7)
CUT = Cut("prod", "pumps", 4, "p", "t", {}, arrival=True)


@pytest.fixture
def flink():
    return FakeFlink()


@pytest.fixture
def job(flink, tmp_path) -> NewJob:
    deployments = Deployments(Environment(directory=str(tmp_path)))
    deployments.directory.mkdir(parents=True)
    record = msgspec.structs.replace(Deployment("prod", "pumps", "detect", 2).submitted("new"), green=True, generation=7)
    found = NewJob(flink, deployments, record, TOLD)
    found._looked = 1e18  # nobody looks at the job but where a test says so
    return found


def row(event: str, partition: int, generation: int = 7, **more: Any) -> dict[str, Any]:
    return {"namespace": "prod", "deployment": "pumps", "event": event, "partition": partition, "generation": generation, **more}


def test_it_is_started_before_its_state_exists_and_submitted_when_it_does(job, flink):
    job.announce(5)
    assert flink.runs == []
    job.begin("file:///savepoint-1")
    assert flink.clients[0].check()
    assert flink.runs == [("new", "file:///savepoint-1")]
    assert len(list(job._file.parent.iterdir())) == 2
    job.tidy()
    assert list(job._file.parent.iterdir()) == []


def test_without_an_announcement_it_is_started_at_once_but_not_twice(job, flink):
    job.begin("file:///savepoint-1")
    flink.clients[0].check()
    job._client = None
    job.begin("file:///savepoint-1")
    assert flink.runs == [("new", "file:///savepoint-1")]


def test_ending_it_ends_its_submission_and_its_job(job, flink):
    job.announce(5)
    flink.known["new"] = "RUNNING"
    job.end()
    assert (flink.clients[0].killed, flink.known["new"]) == (True, "CANCELED")


def test_each_shard_of_this_generation_must_say_that_it_has_its_state(job):
    others = [row("restored", 1, generation=6), row("restored", 1) | {"deployment": "fans"}, row("activated", 9), None]
    job.entered([row("restored", 0), *others, row("restored", 0), row("restored", 1)], range(2), 5)
    with pytest.raises(ClusterError, match=r"shards \[1\] of the new job have not taken over their state in 0 s"):
        job.entered([row("restored", 0), *others], range(2), 0)


def test_a_job_that_was_given_no_state_is_found_out(job, flink):
    flink.rest.restored = None
    with pytest.raises(ClusterError, match="the new job new has begun without state"):
        job.entered([row("restored", 0), row("restored", 1)], range(2), 5)


def test_each_shard_must_begin_the_plan_of_the_cut(job):
    job.activated([row("activated", 0, epoch=3), row("activated", 1, epoch=4), row("activated", 0, epoch=4)], range(2), CUT, 5)
    with pytest.raises(ClusterError, match=r"shard 1 of the new job rejected epoch 4: no such model"):
        job.activated([row("rejected", 1, epoch=4, reason="no such model")], range(2), CUT, 5)


@pytest.mark.parametrize(("state", "reason", "restarts", "said"), [
    ("FAILED", "OutOfMemoryError", 0, "the new job new is FAILED: OutOfMemoryError"),
    ("RESTARTING", "swapstream.models.errors.InvalidPlan: extractor mine", 0, "the new job new can't run: InvalidPlan: extractor mine"),
    ("RUNNING", "TaskManager lost", 3, "the new job new can't run: TaskManager lost"),
])  # fmt: skip
def test_a_job_that_cannot_run_is_told_apart_from_one_with_bad_luck(job, flink, state, reason, restarts, said):
    flink.known["new"], flink.rest.failures["new"], flink.rest.restarted["new"] = "RUNNING", "TaskManager lost", 1
    job._looked = -1e18
    job.require_life()
    flink.known["new"], flink.rest.failures["new"], flink.rest.restarted["new"] = state, reason, restarts
    job._looked = -1e18
    with pytest.raises(ClusterError, match=said):
        job.require_life()


def test_a_submission_that_fails_is_the_reason(job, flink):
    flink.refuses = "no module named mine"
    job._looked = -1e18
    with pytest.raises(ClusterError, match="flink run failed: no module named mine"):
        job.announce(5)
