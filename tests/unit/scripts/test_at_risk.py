"""State that is older than the transactions of its sinks."""

from __future__ import annotations

import time

import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import Rejected
from swapstream.scripts import at_risk
from swapstream.scripts.at_risk import between, refuse_old
from swapstream.scripts.environment import Environment
from swapstream.scripts.state_file import StateFile

ENVIRONMENT = Environment()
TOLD = JobSpec("detect", "prod", "pumps", "p", 0, "b:1", {"telemetry": "readings"}, 2, {0: 0, 1: 0}, transaction_timeout_ms=10_000)
STATE = StateFile("file:///chk-3", 3, (), frozenset(), frozenset({"swapstream.prod.pumps.output-0-4"}), {0: 120, 1: 50})


@pytest.fixture(autouse=True)
def broker(monkeypatch):
    """It has given up every transaction, and readers see answers up to these offsets."""
    monkeypatch.setattr(at_risk, "not_committed", lambda environment, transactions: sorted(transactions))
    monkeypatch.setattr(at_risk, "last_answered", lambda environment, told: {0: 99, 1: 49})


def test_what_is_too_old_is_refused_naming_the_offsets_at_risk():
    said = r"chk-3 is 11 s old, older than the sinks' transaction timeout \(10 s\).*readings-0: 100 to 119; --force"
    with pytest.raises(Rejected, match=said):
        refuse_old(ENVIRONMENT, STATE, time.time() - 11, TOLD, False)


def test_with_force_it_is_said_only(capsys):
    refuse_old(ENVIRONMENT, STATE, time.time() - 11, TOLD, True)
    assert "readings-0: 100 to 119" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["young", "committed", "answered", "at_least_once"])
def test_what_leaves_nothing_to_be_lost_is_taken(change, monkeypatch):
    told, age = TOLD, 5 if change == "young" else 11
    if change == "committed":
        monkeypatch.setattr(at_risk, "not_committed", lambda environment, transactions: [])
    if change == "answered":
        monkeypatch.setattr(at_risk, "last_answered", lambda environment, told: {0: 119, 1: 49})
    if change == "at_least_once":
        told = JobSpec("detect", "prod", "pumps", "p", 0, "b:1", {"telemetry": "readings"}, 2, {}, delivery="at_least_once")
    refuse_old(ENVIRONMENT, STATE, time.time() - age, told, False)


def test_a_partition_of_which_no_answer_can_be_seen_is_at_risk_from_its_beginning():
    assert between({}, {0: 3, 1: 0}) == {0: (0, 2)}
