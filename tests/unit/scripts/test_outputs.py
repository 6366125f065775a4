"""Output read by programs: in order, each once, patient for a while, and only whose it is asked for."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from swapstream.operators.chaining import Chaining, Gap
from swapstream.operators.scores import ScoresFrame
from swapstream.scripts import outputs
from swapstream.scripts.environment import Environment
from swapstream.scripts.kafka import Record
from swapstream.scripts.outputs import frames, in_order, read_scores
from tests.support.frames import scores_frame
from tests.support.topics import Topics


def frame(first: int, last: int, prev: int, deployment: str = "pumps") -> ScoresFrame:
    return scores_frame(range(first, last + 1), prev, deployment, schema="pump")


A, B, C = frame(0, 4, -1), frame(5, 9, 4), frame(10, 12, 9)


class Clock:
    """One second more at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_an_early_frame_is_held_for_so_long_and_no_longer() -> None:
    found = list(in_order([A, C, None, B, None], Chaining(), 10.0, Clock()))
    assert found == [A, B, C]
    log = [A, C, *[None] * 20, B]
    gap, *rest = list(in_order(log, Chaining(), 10.0, Clock()))[1:]
    assert isinstance(gap, Gap)
    assert rest == [C]


def test_it_goes_on_while_others_are_written() -> None:
    """A gap is told although there is always something to read."""
    others = [frame(n, n, n - 1, "fans") for n in range(20)]
    found = list(in_order([A, C, *others], Chaining(), 10.0, Clock()))
    assert C in found[: found.index(others[-1])]


def test_at_the_end_nothing_is_waited_for() -> None:
    found = list(in_order([A, C], Chaining(), 10.0, Clock()))
    assert [one if isinstance(one, Gap) else len(one) for one in found][::2] == [5, 3]
    assert isinstance(found[1], Gap)


def test_what_is_no_frame_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    log = [None, Record(1, 7, 0, None, b"none"), Record(1, 8, 0, None, None), Record(1, 9, 0, None, A.encode())]
    assert list(frames(log, "scores")) == [None, None, None, A]
    assert "scores 1:7: not a frame of scores" in capsys.readouterr().err


def test_a_topic_is_read_once_and_in_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    topics, environment = Topics(monkeypatch), Environment()
    monkeypatch.setattr(outputs, "is_whole", lambda environment, topic: True)
    other = frame(0, 4, -1, "fans")
    for one in (B, A, other, frame(3, 7, 2), C):
        topics.send("scores", value=one.encode())
    assert list(read_scores(environment, deployment="pumps")) == [A, B, C]
    assert list(read_scores(environment)) == [A, B, other, C]
    topics.send("scores", value=frame(30, 31, 20).encode())
    assert len(list(read_scores(environment))) == 5
    assert "prod/pumps of telemetry-0 (pump): readings behind offset 12 up to offset 20 are missing" in capsys.readouterr().err
    told: list[Gap] = []
    assert len(list(read_scores(environment, on_gap=told.append))) == 5
    assert [gap.upto for gap in told] == [(20, 0)]


def test_features_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = Topics(monkeypatch)
    monkeypatch.setattr(outputs, "is_whole", lambda environment, topic: False)
    only = msgspec.structs.replace(B, roles=[], feature_names=("x",), features=np.zeros(5).tobytes())
    topics.send("features", value=only.encode())
    assert list(read_scores(Environment(), "features")) == [only]
