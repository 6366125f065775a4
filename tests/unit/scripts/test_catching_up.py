"""Waiting for a green job, on a ledger in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Rejected
from swapstream.operators.cut import Cut
from swapstream.scripts import catching_up
from swapstream.scripts.acknowledge import Row
from swapstream.scripts.catching_up import CatchingUp, Pace, described
from swapstream.scripts.controller import Swapped
from swapstream.scripts.environment import Environment
from swapstream.scripts.lag import Lag

COMMITTED = 1_000_000.0
PLAN = "p" * 64
TOLD = JobSpec("detect", "prod", "d", PLAN, 0, "b:1", {"telemetry": "telemetry"}, 2, {0: 0, 1: 0}, frame_ms=100, generation=2, line=2)


class Controller:
    """Writes prepare tokens: the n-th at offset n of both partitions."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def prepare(self, plan: str, generation: int) -> Swapped:
        self.asked.append((plan, generation))
        place = len(self.asked)
        return Swapped(Cut("prod", "d", 5, plan, "telemetry", {0: place, 1: place}), True, committed=COMMITTED)


class Flink:
    """What it would answer of any job."""

    def __init__(self, state: str | None = "RUNNING", restarts: int = 0, exception: str = "no extractor") -> None:
        self._state, self._restarts, self._exception, self.rest = state, restarts, exception, self

    def state(self, job: str) -> str | None:
        return self._state

    def restarts(self, job: str) -> int:
        return self._restarts

    def exception(self, job: str) -> str:
        return self._exception


def answer(partition: int, place: int, seconds: float, **changes: Any) -> Row:
    return {"namespace": "prod", "deployment": "d", "event": "prepared", "partition": partition, "offset": place, "epoch": 5, "plan": PLAN,
            "generation": 2, "written": COMMITTED + seconds * 1000, **changes}  # fmt: skip


def waiting(flink: Flink | None = None, timeout: float = 60.0) -> CatchingUp:
    environment = Environment()
    return CatchingUp(environment, TOLD, PLAN, lambda: "green", flink or Flink(), timeout)  # type: ignore[arg-type]


def for_ever(*rows: Row) -> Iterator[Row | None]:
    return itertools.chain(rows, itertools.repeat(None))


@pytest.fixture(autouse=True)
def lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "end_offsets", lambda *_: {0: 100, 1: 100})
    monkeypatch.setattr(catching_up, "lags", lambda *_: {0: Lag(7, 2.5), 1: Lag(0, 0.0)})
    monkeypatch.setattr(catching_up, "SETTLING_S", 0.0)
    for name in ("LOOK_AGAIN", "ASK_AGAIN", "STEADY_S"):
        monkeypatch.setattr(catching_up, name, 0.0)


def test_it_asks_until_every_shard_answers_at_once() -> None:
    controller = Controller()
    rows = [answer(0, 1, 0.2), answer(1, 1, 30.0), answer(0, 2, 0.2), answer(1, 2, 1.5), answer(1, 3, 0.4), answer(0, 3, 0.9)]
    found = waiting().wait(controller, for_ever(*rows))  # type: ignore[arg-type]
    assert [(one.partition, one.seconds) for one in found] == [(1, 0.4), (0, 0.9)]
    assert controller.asked == [(PLAN, 2)] * 3


def test_one_that_is_ready_gets_some_time_to_answer_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "SETTLING_S", 60.0)
    rows = [answer(partition, place, seconds) for place, seconds in enumerate((0.9, 2.0, 0.8, 0.25, 0.2), 1) for partition in (0, 1)]
    assert [one.seconds for one in waiting().wait(Controller(), for_ever(*rows))] == [0.25, 0.25]  # type: ignore[arg-type]


def test_it_has_to_be_quick_for_a_while() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catching_up, "SETTLING_S", 30.0)
        patch.setattr(catching_up, "STEADY_S", 3.0)
        for seconds, expected in (
            ((0.2,) * 9, 3), ((0.2, 0.2, 0.2, 0.4, 0.2, 0.2, 0.2, 0.2), 7), ((0.9,) * 40, 30), ((0.9, *(2.0,) * 35, 0.9), 36),
        ):  # fmt: skip
            pace = Pace(0.1)
            assert next(now for now, slowest in enumerate(seconds) if pace.enough(slowest, float(now))) == expected


def test_the_time_of_a_frame_is_none_that_it_is_late_by() -> None:
    assert Pace(frame=10.0).enough(11.0, 0.0)
    assert not Pace(frame=10.0).enough(11.1, 0.0)
    assert not Pace(frame=0.1).enough(1.2, 0.0)


def test_one_that_is_ready_when_time_is_up_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "SETTLING_S", 60.0)
    assert not Pace(0.1, until=5.0).enough(0.9, 4.9)
    assert Pace(0.1, until=5.0).enough(0.9, 5.0)
    assert not Pace(0.1, until=5.0).enough(1.2, 5.0)
    slow = (answer(partition, place, 0.9) for place in itertools.count(1) for partition in (0, 1))
    assert [one.seconds for one in waiting(timeout=0.2).wait(Controller(), slow)] == [0.9, 0.9]  # type: ignore[arg-type]


def test_what_other_jobs_answer_does_not_count() -> None:
    rows = [answer(0, 1, 0.1, generation=1), answer(1, 1, 0.1), answer(0, 1, 0.1, generation=0), answer(0, 1, 0.7)]
    assert [one.seconds for one in waiting().wait(Controller(), for_ever(*rows))] == [0.1, 0.7]  # type: ignore[arg-type]


def test_a_shard_that_refuses_ends_it() -> None:
    rows = [answer(0, 1, 0.1), answer(1, 1, 0.1, event="refused", reason="golden")]
    with pytest.raises(Rejected, match="shard 1 of the new job refused the plan: golden"):
        waiting().wait(Controller(), for_ever(*rows))  # type: ignore[arg-type]


def test_one_that_never_catches_up_is_told_with_its_lag() -> None:
    with pytest.raises(ClusterError, match=r"has not caught up in 0.1 s: telemetry-0 is 7 records \(2.5 s\) behind, telemetry-1 is 0 rec"):
        waiting(timeout=0.1).wait(Controller(), for_ever(answer(0, 1, 0.1)))  # type: ignore[arg-type]


def test_one_that_answers_late_for_ever_is_told_as_well() -> None:
    late = (answer(partition, place, 5.0) for place in itertools.count(1) for partition in (0, 1))
    with pytest.raises(ClusterError, match="has not caught up in"):
        waiting(timeout=0.2).wait(Controller(), late)  # type: ignore[arg-type]


@pytest.mark.parametrize(("flink", "said"), [
    (Flink("FAILED"), "the new job green is FAILED: no extractor"),
    (Flink(restarts=3), "the new job green can't run: no extractor"),
    (Flink(exception="x.py: swapstream.models.errors.InvalidPlan: no such field"), "can't run: InvalidPlan: no such field"),
])  # fmt: skip
def test_one_that_can_not_run_is_told_at_once(flink: Flink, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        waiting(flink).wait(Controller(), for_ever())  # type: ignore[arg-type]


def test_one_that_was_lost_may_come_back() -> None:
    for flink in (Flink(None), Flink(restarts=2)):
        rows = itertools.chain([None, None], for_ever(answer(0, 1, 0.1), answer(1, 1, 0.1)))
        assert len(waiting(flink).wait(Controller(), rows)) == 2  # type: ignore[arg-type]


def test_what_has_committed_nothing_has_read_nothing() -> None:
    assert described("t", {}) == "it has read nothing yet"
