"""A job's end by a savepoint, and what an interruption leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapstream.models.errors import ClusterError
from swapstream.scripts import stopping
from swapstream.scripts.environment import Environment
from swapstream.scripts.savepoint_files import Shelf
from swapstream.scripts.stopping import end, stop_with_savepoint
from tests.support.flink import FakeFlink


@pytest.fixture
def flink() -> FakeFlink:
    found = FakeFlink()
    found.known["old"] = "RUNNING"
    return found


def stop(flink: FakeFlink, tmp_path: Path, trigger: str = "") -> tuple[str, list[str]]:
    asked: list[str] = []
    shelf = Shelf(Environment(directory=str(tmp_path)), "pumps")
    return stop_with_savepoint(flink, shelf, "old", "s1", "native", 5, trigger, asked.append), asked


def whole(tmp_path: Path) -> str:
    path = tmp_path / "savepoints" / "prod.pumps" / "s1" / "savepoint-old"
    path.mkdir(parents=True)
    (path / "_metadata").write_bytes(b"m")
    return path.as_uri()


def test_the_request_is_known_before_it_is_waited_for(flink, tmp_path):
    assert stop(flink, tmp_path) == ("file:///savepoint-1", ["request-1"])
    assert flink.rest.asked == [("old", (tmp_path / "savepoints" / "prod.pumps" / "s1").as_uri(), "NATIVE")]


def test_a_request_of_before_an_interruption_is_waited_for(flink, tmp_path):
    flink.known["old"] = "FINISHED"
    assert stop(flink, tmp_path, "request-9") == ("file:///savepoint-1", [])
    assert flink.rest.asked == []


def test_one_that_nobody_wrote_down_is_let_finish_and_found_where_it_was_to_lie(flink, tmp_path):
    flink.rest.saving, uri = [True, True], whole(tmp_path)
    flink.known["old"] = "FINISHED"
    assert stop(flink, tmp_path) == (uri, [])
    flink.known["old"] = "RUNNING"
    stop(flink, tmp_path)
    assert (flink.rest.saving, len(flink.rest.asked)) == ([], 1)


def test_a_job_that_flink_has_forgotten_may_have_left_one(flink, tmp_path):
    uri = whole(tmp_path)
    del flink.known["old"]
    assert stop(flink, tmp_path, "request-9") == (uri, [])


def test_what_flink_says_of_a_failure_is_said(flink, tmp_path):
    flink.rest.stops = {"failure-cause": {"stack-trace": "java.util.X: a\n\tat b\nCaused by: java.io.IOException: disk is full\n\tat c"}}
    with pytest.raises(ClusterError, match=r"job old could not be saved: java\.io\.IOException: disk is full"):
        stop(flink, tmp_path)


@pytest.mark.parametrize("state", ["FAILED", None])
def test_a_job_that_ended_otherwise_has_left_none(flink, tmp_path, state):
    flink.known = {"old": state} if state else {}
    with pytest.raises(ClusterError, match=r"job old has ended .* without a savepoint"):
        stop(flink, tmp_path)


def test_one_that_is_being_started_again_is_waited_for(flink, tmp_path, monkeypatch):
    flink.known["old"], looks = "RESTARTING", []

    def is_running(job_id: str) -> bool:
        looks.append(flink.rest.asked[:])
        if len(looks) == 3:
            flink.known["old"] = "RUNNING"
        return len(looks) == 3

    monkeypatch.setattr(flink, "is_running", is_running)
    assert stop(flink, tmp_path) == ("file:///savepoint-1", ["request-1"])
    assert looks == [[], [], []]


def test_one_that_does_not_come_back_runs_on_as_it_can(flink, tmp_path, monkeypatch):
    flink.known["old"] = "RESTARTING"
    monkeypatch.setattr(stopping, "RECOVERY_S", 0.1)
    with pytest.raises(ClusterError, match="job old is RESTARTING: only one that runs can be saved"):
        stop(flink, tmp_path)
    assert flink.rest.asked == []


def test_a_job_that_nobody_needs_ends_with_a_savepoint_of_which_nothing_is_left(flink, tmp_path):
    written = tmp_path / "savepoints" / "prod.pumps" / "end-old"
    (written / "savepoint-1").mkdir(parents=True)
    end(flink, Shelf(Environment(directory=str(tmp_path)), "pumps"), "old")
    assert (flink.known["old"], flink.rest.asked) == ("FINISHED", [("old", written.as_uri(), "NATIVE")])
    assert not written.exists()


@pytest.mark.parametrize("state", ["RUNNING", "RESTARTING"])
def test_one_that_can_not_is_cancelled(flink, tmp_path, state, monkeypatch):
    monkeypatch.setattr(stopping, "GENTLE_S", 0.1)
    flink.known["old"], flink.rest.stops = state, {"failure-cause": {"class": "x", "stack-trace": "no"}}
    flink.cancel = lambda job_id, seconds=60.0: flink.known.update({job_id: "CANCELED"})
    end(flink, Shelf(Environment(directory=str(tmp_path)), "pumps"), "old")
    assert flink.known["old"] == "CANCELED"
