"""What a submission resumes from, and what it is told; submitting itself is tested on a real cluster."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, InvalidSettings, UnknownName
from swapstream.operators.assignment import Upgrade
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Broker, Environment, Flink, JobDefaults
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.job import cancel
from swapstream.scripts.restoring import Restore, check_settings
from swapstream.scripts.savepoint_files import Saved, Shelf
from swapstream.scripts.security import Secret, Security
from swapstream.scripts.specification import next_spec
from swapstream.scripts.submission import Submission
from swapstream.scripts.upgrade_order import Settings
from swapstream.scripts.upgrade_progress import Progress, ProgressFile

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
    assert Submission(here, PUMPS, "latest").restore.uri == newest.as_uri()


def test_latest_is_what_somebody_elses_jobmanager_remembers(away, monkeypatch):
    ran(away, "a", "b")
    monkeypatch.setattr(FlinkCommandLine, "state", lambda self, job: "CANCELED")
    monkeypatch.setattr(FlinkRest, "checkpoints", lambda self, job: {"latest": {"completed": {"external_path": f"s3://c/{job}/chk-9"}}})
    assert Submission(away, PUMPS, "latest").restore.uri == "s3://c/b/chk-9"


@pytest.mark.parametrize("jobs", [(), ("a",)])
def test_latest_without_a_checkpoint_is_refused(away, monkeypatch, jobs):
    ran(away, *jobs)
    monkeypatch.setattr(FlinkCommandLine, "state", lambda self, job: None)
    with pytest.raises(UnknownName, match=r"--from latest: no checkpoint or savepoint of prod\.pumps is known"):
        Submission(away, PUMPS, "latest")


def test_a_uri_is_taken_as_it_is(away):
    assert Submission(away, PUMPS, "s3://bucket/savepoint-1").restore == Restore("s3://bucket/savepoint-1")


def test_state_of_another_backend_is_refused_but_for_a_canonical_savepoint(here):
    spec = Submission(here, PUMPS, None)._told("p", 0, {0: 0}, "exactly_once")
    rocks = msgspec.structs.replace(spec, state_backend="rocksdb")
    for uri, saved in (("file:///c/chk-3", None), ("s3://b/savepoint-1", savepoint("s3://b/savepoint-1", spec, "native"))):
        with pytest.raises(InvalidSettings, match=r"job\.state_backend was hashmap and is rocksdb"):
            check_settings(spec, rocks, Restore(uri, None, saved))
    check_settings(spec, rocks, Restore("s3://b/savepoint-1"))
    check_settings(spec, rocks, Restore("s3://b/savepoint-1", None, savepoint("s3://b/savepoint-1", spec)))
    check_settings(None, rocks, Restore("file:///c/chk-3"))


def savepoint(location: str, told: JobSpec, form: str = "canonical", taken: int = 0) -> Saved:
    return Saved(f"{taken}-1", location, "a", taken, form, told, 0, "pumps", "p", ())


def test_latest_is_whatever_is_newest_of_savepoints_and_checkpoints_of_all_submissions(here):
    deployments, shelf = Deployments(here), Shelf(here, "pumps")
    deployments.save(msgspec.structs.replace(PUMPS, job_ids=("c",), earlier=("a", "b"), desired="stopped"))
    for number, job in enumerate("abc"):
        os.utime(checkpoint(here, job) / "_metadata", (100 + number, 100 + number))
    told = Submission(here, PUMPS, None)._told("p", 0, {0: 0}, "exactly_once")
    for taken in (50, 150):
        path = checkpoint(here, f"../savepoints/{taken}")
        shelf.save(savepoint(path.as_uri(), told, taken=taken * 1000))
    newest = Submission(here, PUMPS, "latest").restore
    assert (newest.made, newest.saved.taken, newest.portable) == (150.0, 150_000, True)
    shutil.rmtree(newest.saved.directory)
    newest = Submission(here, PUMPS, "latest").restore
    assert (newest.uri.split("/")[-2:], newest.made, newest.portable) == (["c", "chk-3"], 102.0, False)


def test_what_is_written_beside_a_savepoint_is_found_however_its_place_is_written(here):
    path = checkpoint(here, "../savepoints/x")
    told = Submission(here, PUMPS, None)._told("p", 0, {0: 0}, "exactly_once")
    Shelf(here, "pumps").save(savepoint(path.resolve().as_uri().replace("file://", "file:"), told))
    assert Submission(here, PUMPS, str(path)).restore.saved.told == told


def test_state_goes_by_the_names_that_savepoints_shows(here):
    job, told = "0f" * 16, Submission(here, PUMPS, None)._told("p", 0, {0: 0}, "exactly_once")
    there = checkpoint(here, job)
    path = checkpoint(here, "../savepoints/x")
    Shelf(here, "pumps").save(savepoint(path.as_uri(), told))
    assert Submission(here, PUMPS, f"{job}/chk-3").restore.uri == there.as_uri()
    assert Submission(here, PUMPS, "0-1").restore.uri == path.as_uri()
    with pytest.raises(ClusterError, match="chk-4 is not a complete checkpoint or savepoint"):
        Submission(here, PUMPS, f"{job}/chk-4")


def test_each_submission_is_of_the_next_generation_and_of_the_same_line(here):
    assert Submission(here, PUMPS, None).deployment.generation == 0
    Deployments(here).save(msgspec.structs.replace(PUMPS, job_ids=("a",), generation=3, generations=5, line=2))
    found = Submission(here, PUMPS, None)
    told = found._told("p", 0, {0: 0}, "exactly_once")
    assert (found.deployment.generation, told.generation, told.line, told.upgrade) == (6, 6, 2, None)


def test_nothing_is_submitted_or_cancelled_while_an_upgrade_is_under_way(here):
    ran(here, "a")
    progress = Progress("prod", "pumps", "handover", "catch up", "p", 1, "p", 0, 1, 0, "b", "a", 0)
    ProgressFile(Deployments(here), "pumps").save(progress)
    for act in (lambda: cancel(here, "pumps"), Submission(here, PUMPS, None)._check):
        with pytest.raises(Conflict, match=r"an upgrade of prod\.pumps \(handover\) is at its step 'catch up'.*`--abort` undoes it"):
            act()


def test_how_much_a_shard_may_hold_is_as_the_environment_says_at_each_submission_and_upgrade(tmp_path):
    def told(**settings) -> Environment:
        return Environment(directory=str(tmp_path), job=JobDefaults(**settings))

    first = Submission(told(hold_max_bytes=2_000_000), PUMPS, None)._told("p", 0, {0: 0}, "exactly_once")
    assert first.hold_max_bytes == 2_000_000
    upgrade = Upgrade("savepoint", "p", 1)
    assert next_spec(told(hold_max_bytes=3_000_000), first, Settings(), 2, 0, 9, upgrade).hold_max_bytes == 3_000_000
    assert next_spec(told(), first, Settings(), 2, 0, 9, upgrade).hold_max_bytes == 64 * 1024 * 1024


def test_the_environments_settings_reach_the_job_and_a_password_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    security = Security("SASL_PLAINTEXT", "PLAIN", "me", Secret(env="SECRET"))
    job = JobDefaults(frame_ms=7, buffer_timeout_ms=8, bundle_ms=9, checkpoint_ms=1234, state_backend="rocksdb")
    environment = Environment(directory=str(tmp_path), broker=Broker(bootstrap="k:1", security=security), job=job)
    spec = Submission(environment, PUMPS, None)._told("p", 0, {0: 0, 1: 5}, "at_least_once")
    spec.write(tmp_path / "spec.json")
    assert JobSpec.read(tmp_path / "spec.json") == spec
    assert (spec.frame_ms, spec.buffer_timeout_ms, spec.bundle_ms, spec.checkpoint_ms, spec.state_backend) == (7, 8, 9, 1234, "rocksdb")
    paced = Submission(msgspec.structs.replace(environment, job=JobDefaults(bundle_ms=9)), PUMPS, None)._told
    exact, soon = paced("p", 0, {0: 0}, "exactly_once"), paced("p", 0, {0: 0}, "at_least_once")
    assert (exact.frame_ms, exact.buffer_timeout_ms, exact.bundle_ms) == (100, 10, 9)
    assert (soon.frame_ms, soon.buffer_timeout_ms, soon.bundle_ms) == (30, 2, 9)
    assert "${env:SECRET}" in spec.kafka["sasl.jaas.config"]
    assert "s3cret" not in (tmp_path / "spec.json").read_text()
