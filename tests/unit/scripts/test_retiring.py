"""Blue's end, as rows of the ledger and its executions tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from swapstream.operators.cut import Cut
from swapstream.scripts import retiring
from swapstream.scripts.acknowledge import Row
from swapstream.scripts.retiring import Execution, Retirement, retire

CUT = Cut("prod", "d", 5, "p", "telemetry", {0: 10, 1: 20}, predecessor=1, successor=2)
FIRST, SECOND = Execution("blue", 0), Execution("blue", 1)


def row(event: str, partition: int, seconds: float = 0.0, **changes: Any) -> Row:
    return {"namespace": "prod", "deployment": "d", "event": event, "partition": partition, "written": 1000 + 1000 * seconds, **changes}


def retired(partition: int, execution: Execution = FIRST, seconds: float = 0.0, **changes: Any) -> Row:
    return row("retired", partition, seconds, **{"generation": 1, "job": execution.job, "attempt": execution.attempt, **changes})


def begun(partition: int, seconds: float = 0.0, **changes: Any) -> Row:
    return row("activated", partition, seconds, **{"generation": 2, "epoch": 5, "took_ms": 0.5, **changes})


class Blue:
    """`executions` are what it is found in, the last one for ever; what it can commit."""

    def __init__(self, *executions: Execution | None, commits: bool = True) -> None:
        self._executions, self._commits = [*executions], commits
        self.committing: list[Execution] = []

    def execution(self) -> Execution | None:
        return self._executions.pop(0) if len(self._executions) > 1 else self._executions[0]

    def committed(self, execution: Execution, seconds: float) -> bool:
        self.committing.append(execution)
        return self._commits


def run(blue: Blue, *rows: Row | None, timeout: float = 60.0, wake: Any = lambda: None) -> bool:
    ledger: Iterator[Row | None] = itertools.chain(rows, itertools.repeat(None))
    return retire(Retirement(CUT), blue, ledger, timeout, wake)  # type: ignore[arg-type]


def test_rows_say_when_each_shard_retired_and_when_the_other_began() -> None:
    found = Retirement(CUT, 1000.0, {0: 0.4})
    for one in (begun(0, 0.25), retired(0, seconds=0.5), begun(1, 3.0), retired(0, seconds=9.0)):
        assert not found.complete
        found.take(one)
    assert found.waiting == [1]
    found.take(retired(1, seconds=0.75))
    assert (found.complete, found.waiting) == (True, [])
    assert list(found.rows.values()) == [
        {"partition": 0, "answered_s": 0.4, "cut_offset": 10, "retired_s": 0.5, "activated_s": 0.25, "pause_ms": 0.5},
        {"partition": 1, "answered_s": None, "cut_offset": 20, "retired_s": 0.75, "activated_s": 3.0, "pause_ms": 0.5},
    ]


def test_what_others_say_does_not_count() -> None:
    found = Retirement(CUT, 1000.0)
    for one in (retired(0, generation=7), begun(0, generation=1), begun(0, epoch=4), retired(0, namespace="alice"), retired(2), {},
                row("prepared", 0, generation=1)):  # fmt: skip
        found.take({**one})
    assert found.waiting == [0, 1]
    assert found.rows[0]["retired_s"] is None


def test_blue_may_end_when_what_one_execution_wrote_is_committed() -> None:
    blue = Blue(FIRST)
    assert run(blue, begun(0), begun(1), retired(0), retired(1))
    assert blue.committing == [FIRST]


def test_shards_of_two_executions_are_not_enough() -> None:
    blue = Blue(SECOND)
    assert not run(blue, begun(0), begun(1), retired(0), retired(1, SECOND), timeout=0.05)
    assert blue.committing == []
    assert run(blue, begun(0), begun(1), retired(0), retired(1, SECOND), None, retired(0, SECOND))


def test_one_that_was_started_again_must_say_it_again() -> None:
    blue = Blue(None, SECOND)
    assert not run(blue, begun(0), begun(1), retired(0), retired(1), timeout=0.05)
    assert blue.committing == []


def test_it_is_not_over_before_green_answers() -> None:
    assert not run(Blue(FIRST), retired(0), retired(1), begun(0), timeout=0.05)


def test_what_is_not_committed_is_waited_for() -> None:
    blue = Blue(FIRST, commits=False)
    assert not run(blue, begun(0), begun(1), retired(0), retired(1), timeout=0.05)
    assert len(blue.committing) > 1


def test_shards_without_records_are_woken_while_blue_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retiring, "WAKE_S", 0.01)
    woken: list[int] = []
    run(Blue(FIRST), begun(0), begun(1), retired(0), timeout=0.1, wake=lambda: woken.append(1))
    assert 1 <= len(woken) <= 10
    woken.clear()
    run(Blue(None), begun(0), begun(1), retired(0), timeout=0.05, wake=lambda: woken.append(1))
    assert woken == []
