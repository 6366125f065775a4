from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from swapstream.models import pacing
from swapstream.models.pacing import MOST, Pace, paced, rest


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the machine says of itself: user, nice, system, idle, …"""
    path = tmp_path / "stat"
    path.write_text("cpu 1000 0 0 1000 0 0 0 0 0 0\n")
    monkeypatch.setattr(pacing, "STAT", path)
    return path


def rested(pace: Pace, worked: float) -> float:
    """Seconds of rest after so many of work."""
    work(worked)
    began = time.monotonic()
    pace.rest()
    return time.monotonic() - began


def test_rests_longer_on_a_busy_machine(stat: Path) -> None:
    pace = Pace(threading.Event())
    stat.write_text("cpu 1900 0 0 1100 0 0 0 0 0 0\n")
    assert rested(pace, 0.01) >= 0.09


def test_rests_little_on_an_idle_machine(stat: Path) -> None:
    pace = Pace(threading.Event())
    stat.write_text("cpu 1000 0 0 2000 0 0 0 0 0 0\n")
    assert pace._times() == 0


def test_rests_no_longer_than_it_may(stat: Path) -> None:
    pace = Pace(threading.Event())
    stat.write_text("cpu 9000 0 0 1000 0 0 0 0 0 0\n")
    assert pace._times() == MOST


def test_one_rest_has_an_end(stat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LONGEST", 0.05)
    pace = Pace(threading.Event())
    stat.write_text("cpu 9000 0 0 1000 0 0 0 0 0 0\n")
    assert 0.05 <= rested(pace, 0.02) < 0.02 * MOST


def test_a_machine_that_says_nothing_counts_as_half_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "STAT", tmp_path / "none")
    assert Pace(threading.Event())._times() == 1


def test_does_not_rest_while_somebody_waits(stat: Path) -> None:
    hurry = threading.Event()
    pace = Pace(hurry)
    stat.write_text("cpu 9000 0 0 1000 0 0 0 0 0 0\n")
    threading.Timer(0.05, hurry.set).start()
    assert rested(pace, 0.1) < 0.1 * MOST / 2


def test_rests_only_within(stat: Path) -> None:
    pace = Pace(threading.Event())
    stat.write_text("cpu 1900 0 0 1100 0 0 0 0 0 0\n")
    work(0.01)
    began = time.monotonic()
    rest()
    assert time.monotonic() - began < 0.05
    with paced(pace):
        rest()
    assert time.monotonic() - began >= 0.09
