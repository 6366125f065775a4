"""Sessions: loaded once, shared, in bounded memory; what the gate said is remembered."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Rejected, Unavailable
from swapstream.models.gate import check
from swapstream.operators.sessions import LEAST, Sessions
from tests.support.shards import FIELDS, model


class Shelf:
    """Counts how often each model was taken from it."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def find(self, ref: str) -> Any:
        def take() -> Artifact:
            self.taken.append(ref)
            return model(ref, FIELDS)

        return take


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which models the gate was asked about."""
    asked: list[str] = []

    def asking(artifact: Artifact, *rest: Any, **named: Any) -> Any:
        asked.append(artifact.ref)
        return check(artifact, *rest, **named)

    monkeypatch.setattr("swapstream.operators.sessions.check", asking)
    return asked


def test_what_the_gate_saw_is_there_and_stays_the_same(gate: list[str]) -> None:
    shelf, sessions = Shelf(), Sessions()
    assert sessions.verdict("a", FIELDS, shelf.find("a:1")).refusal == ""
    first = sessions.get("a", shelf.find("a:1"))
    sessions.verdict("a", FIELDS, shelf.find("a:1"))
    assert sessions.get("a", shelf.find("a:1")) is first
    assert (shelf.taken, gate) == (["a:1"], ["a:1"])


def test_the_one_used_longest_ago_makes_room_and_comes_back_without_the_gate(gate: list[str]) -> None:
    shelf, sessions = Shelf(), Sessions(room=3 * LEAST + 500)
    for name in "abc":
        sessions.verdict(name, FIELDS, shelf.find(f"{name}:1"))
    kept = sessions.get("a", shelf.find("a:1"))
    sessions.verdict("d", FIELDS, shelf.find("d:1"))
    assert len(sessions) == 3
    assert sessions.get("a", shelf.find("a:1")) is kept
    assert shelf.taken == ["a:1", "b:1", "c:1", "d:1"]
    sessions.get("b", shelf.find("b:1"))
    assert shelf.taken[-1] == "b:1"
    assert gate == ["a:1", "b:1", "c:1", "d:1"]
    assert len(sessions) == 3


def test_one_that_is_larger_than_all_the_room_is_kept_alone() -> None:
    shelf, sessions = Shelf(), Sessions(room=1)
    for name in "ab":
        sessions.verdict(name, FIELDS, shelf.find(f"{name}:1"))
    assert len(sessions) == 1


def test_a_refusal_is_remembered_with_its_check_and_value() -> None:
    shelf, sessions = Shelf(), Sessions()
    verdict = sessions.verdict("a", ("other",), shelf.find("a:1"))
    assert "a:1: features: " in verdict.refusal
    assert verdict.error == verdict.refusal[:200]
    assert sessions.verdict("a", ("other",), shelf.find("a:1")) is verdict
    assert shelf.taken == ["a:1"]


def test_one_that_is_only_slow_is_refused_and_would_score(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(artifact: Artifact, loaded: Any) -> None:
        raise Rejected("a:1: budget: 9 s")

    monkeypatch.setattr("swapstream.operators.sessions.check_budget", slow)
    verdict = Sessions().verdict("a", FIELDS, Shelf().find("a:1"))
    assert (verdict.refusal, verdict.error) == ("a:1: budget: 9 s", None)
    assert verdict.threshold == model("a:1", FIELDS).manifest.threshold


def test_a_store_that_is_away_says_nothing_of_the_model() -> None:
    def away() -> Artifact:
        raise Unavailable("store: away")

    sessions = Sessions()
    with pytest.raises(Unavailable):
        sessions.verdict("a", FIELDS, away)
    assert sessions.verdict("a", FIELDS, Shelf().find("a:1")).refusal == ""


def test_of_several_threads_that_load_the_same_all_get_one() -> None:
    sessions, found = Sessions(), []
    barrier = threading.Barrier(8)

    def load() -> None:
        barrier.wait()
        found.append(sessions.get("a", Shelf().find("a:1")))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(session) for session in found}) == 1
    assert len(sessions) == 1
