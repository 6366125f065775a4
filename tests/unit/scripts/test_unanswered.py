"""Which records before a cut nobody has answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapstream.operators.cut import Cut
from swapstream.operators.dead_letters import dead_letter
from swapstream.scripts import unanswered as module
from swapstream.scripts.environment import Environment
from swapstream.scripts.unanswered import described, unanswered
from tests.support.frames import scores_frame
from tests.support.topics import Topics

CUT = Cut("prod", "d", 5, "p", "telemetry", {0: 5, 1: 4, 2: 0})


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """Five readings and then a token, four and a token, and a partition that holds nothing else."""
    made = Topics(monkeypatch, partitions=3)
    monkeypatch.setattr(module, "offsets_at", lambda *_: {0: 0, 1: 0, 2: 0})
    for partition, end in CUT.offsets.items():
        for _ in range(end):
            made.send("telemetry", None, b"{}", partition)
        made.send("telemetry", None, b"\xc1 a token", partition)
        made.send("telemetry", None, b"{}", partition)
    return made


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(directory=str(tmp_path))


def frame(partition: int, last: int, deployment: str = "d") -> bytes:
    return scores_frame([last], deployment=deployment, partition=partition).encode()


def test_everything_is_missing_where_nothing_came_out(topics: Topics, environment: Environment) -> None:
    found = unanswered(environment, CUT, 0)
    assert found == {0: (0, 4), 1: (0, 3)}
    assert described("telemetry", found) == "telemetry-0: 0 to 4, telemetry-1: 0 to 3"


def test_scores_features_and_dead_letters_answer(topics: Topics, environment: Environment) -> None:
    topics.send("scores", None, frame(0, 2))
    topics.send("scores", None, frame(1, 1))
    topics.send("scores", None, b"nonsense")
    topics.send("features", None, frame(1, 2))
    topics.send("dead-letters", None, dead_letter("telemetry", 0, 3, 0, "json", "", b"").encode())
    assert unanswered(environment, CUT, 0) == {0: (4, 4), 1: (3, 3)}


def test_what_others_and_the_next_job_put_out_answers_nothing(topics: Topics, environment: Environment) -> None:
    topics.send("scores", None, frame(0, 4, "another"))
    topics.send("scores", None, frame(1, 5))
    assert unanswered(environment, CUT, 0) == {0: (0, 4), 1: (0, 3)}


def test_nothing_is_missing_where_all_came_out(topics: Topics, environment: Environment) -> None:
    topics.send("scores", None, frame(0, 4))
    topics.send("dead-letters", None, dead_letter("telemetry", 1, 3, 0, "json", "", b"").encode())
    assert unanswered(environment, CUT, 0) == {}
