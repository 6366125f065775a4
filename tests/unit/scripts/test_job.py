"""What a submission resumes from, and what it is told; submitting itself is tested on a real cluster."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Broker, Environment, Flink, JobDefaults
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.job import Submission
from swapstream.scripts.security import Secret, Security

PUMPS = Deployment("prod", "pumps", "detect", 2)


def ran(environment: Environment, *job_ids: str) -> None:
    """The deployment has run, as these jobs."""
    deployments = Deployments(environment)
    deployments.save(msgspec.structs.replace(PUMPS, job_ids=job_ids, desired="stopped"))


def checkpoint(environment: Environment, job: str) -> Path:
    path = environment.checkpoints / job / "chk-3"
    path.mkdir(parents=True)
    (path / "_metadata").write_bytes(b"m")
    return path


@pytest.fixture
def here(tmp_path) -> Environment:
    return Environment(directory=str(tmp_path))


@pytest.fixture
def away(tmp_path) -> Environment:
    return Environment(directory=str(tmp_path), flink=Flink(rest="http://flink:8081"))


def test_latest_is_the_newest_checkpoint_on_disk(here):
    ran(here, "a", "b")
    newest = checkpoint(here, "b")
    assert Submission(here, PUMPS, "latest").restore == newest.as_uri()


def test_latest_is_what_somebody_elses_jobmanager_remembers(away, monkeypatch):
    ran(away, "a", "b")
    monkeypatch.setattr(FlinkCommandLine, "state", lambda self, job: "CANCELED")
    monkeypatch.setattr(FlinkRest, "checkpoints", lambda self, job: {"latest": {"completed": {"external_path": f"s3://c/{job}/chk-9"}}})
    assert Submission(away, PUMPS, "latest").restore == "s3://c/b/chk-9"


@pytest.mark.parametrize("jobs", [(), ("a",)])
def test_latest_without_a_checkpoint_is_refused(away, monkeypatch, jobs):
    ran(away, *jobs)
    monkeypatch.setattr(FlinkCommandLine, "state", lambda self, job: None)
    with pytest.raises(UnknownName, match=r"--from latest: no checkpoint of prod\.pumps is known"):
        Submission(away, PUMPS, "latest")


def test_a_uri_is_taken_as_it_is(away):
    assert Submission(away, PUMPS, "s3://bucket/savepoint-1").restore == "s3://bucket/savepoint-1"


def test_state_of_another_backend_is_refused_but_for_a_savepoint(here):
    ran(here, "a")
    checkpoint(here, "a")
    spec = Submission(here, PUMPS, None)._specification("p", 0, {0: 0}, "exactly_once")
    spec.write(Deployments(here).spec("pumps"))
    rocks = msgspec.structs.replace(spec, state_backend="rocksdb")
    with pytest.raises(InvalidSettings, match=r"job\.state_backend was hashmap and is rocksdb"):
        Submission(here, PUMPS, "latest")._check_state(rocks)
    Submission(here, PUMPS, "s3://bucket/savepoint-1")._check_state(rocks)
    Submission(here, PUMPS, None)._check_state(rocks)


def test_the_environments_settings_reach_the_job_and_a_password_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    security = Security("SASL_PLAINTEXT", "PLAIN", "me", Secret(env="SECRET"))
    job = JobDefaults(frame_ms=7, buffer_timeout_ms=8, bundle_ms=9, checkpoint_ms=1234, state_backend="rocksdb")
    environment = Environment(directory=str(tmp_path), broker=Broker(bootstrap="k:1", security=security), job=job)
    spec = Submission(environment, PUMPS, None)._specification("p", 0, {0: 0, 1: 5}, "at_least_once")
    spec.write(tmp_path / "spec.json")
    assert JobSpec.read(tmp_path / "spec.json") == spec
    assert (spec.frame_ms, spec.buffer_timeout_ms, spec.bundle_ms, spec.checkpoint_ms, spec.state_backend) == (7, 8, 9, 1234, "rocksdb")
    paced = Submission(msgspec.structs.replace(environment, job=JobDefaults(bundle_ms=9)), PUMPS, None)._specification
    exact, soon = paced("p", 0, {0: 0}, "exactly_once"), paced("p", 0, {0: 0}, "at_least_once")
    assert (exact.frame_ms, exact.buffer_timeout_ms, exact.bundle_ms) == (100, 10, 9)
    assert (soon.frame_ms, soon.buffer_timeout_ms, soon.bundle_ms) == (30, 2, 9)
    assert "${env:SECRET}" in spec.kafka["sasl.jaas.config"]
    assert "s3cret" not in (tmp_path / "spec.json").read_text()
