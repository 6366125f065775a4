"""Shards' answers, read from the ledger."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.operators.ledger import LedgerRow
from swapstream.scripts import kafka
from swapstream.scripts.acknowledge import (
    Ledger,
    acknowledgements,
    activations,
    answers,
    ledger_row,
    one_each,
    prepares,
)
from swapstream.scripts.environment import Environment
from tests.support.topics import Topics

CUT = Cut("prod", "detect", 3, "d" * 64, "telemetry", {0: 10, 1: 20})
ARRIVAL = msgspec.structs.replace(CUT, offsets={}, arrival=True)
ENVIRONMENT = Environment()


def answer(partition: int, event: str = "activated", **changes: Any) -> bytes:
    row = LedgerRow("id", "prod", "detect", event, "w", 1, partition=partition, offset=CUT.offsets[partition], epoch=3, plan=CUT.plan)
    return msgspec.structs.replace(row, **changes).encode()


def row(partition: int, event: str = "activated", **changes: Any) -> dict[str, Any]:
    return ledger_row(kafka.Record(0, 0, 77, b"", answer(partition, event, **changes)))


def told(monkeypatch: pytest.MonkeyPatch, values: list[bytes | None], timeout: float = 60) -> list[tuple[int, str]]:
    topics = Topics(monkeypatch)
    for value in values:
        topics.send(ENVIRONMENT.topics.ledger.name, b"k", value)
    return [(found["partition"], found["event"]) for found in acknowledgements(ENVIRONMENT, CUT, timeout)]


def test_each_shard_answers_once_whatever_else_is_on_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [
        None,
        b"nonsense",
        b"\xff",
        b"[]",
        b'{"event": "activated", "partition": [0]}',
        answer(0, "holding"),
        answer(0, "prepared"),
        answer(0, epoch=2),
        answer(0, deployment="another"),
        answer(0, offset=11),
        answer(1, "rejected", reason="why"),
        answer(1),
        answer(0),
    ]
    assert told(monkeypatch, values) == [(1, "rejected"), (0, "activated")]


def test_shards_that_do_not_answer_in_time_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"shards \[1\] of prod/detect have not answered to epoch 3"):
        told(monkeypatch, [answer(0)], timeout=0.01)


def test_a_ledger_that_was_opened_before_has_what_came_since(monkeypatch: pytest.MonkeyPatch) -> None:
    topics, name = Topics(monkeypatch), ENVIRONMENT.topics.ledger.name
    topics.send(name, b"k", answer(0, "rejected"))
    ledger = Ledger(ENVIRONMENT)
    topics.send(name, b"k", answer(0))
    topics.send(name, b"k", answer(1))
    assert [found["event"] for found in activations(ledger, CUT, {0, 1}, 60)] == ["activated", "activated"]
    ledger.close()


def test_while_nothing_comes_those_that_wait_are_told() -> None:
    seen: list[set[int]] = []
    rows = [None, row(0), None, row(1)]
    list(one_each(rows, {0, 1}, lambda found: True, 60, "late", lambda waiting: seen.append(set(waiting))))
    assert seen == [{0, 1}, {1}]


def test_a_row_of_another_token_is_no_answer() -> None:
    assert answers(row(0), CUT)
    assert answers(row(0, "aborted"), CUT)
    assert not answers(row(0, offset=None), CUT)
    assert not answers({}, CUT)
    assert answers(row(0, offset=99), ARRIVAL), "at arrival the shard says where"
    assert not answers(row(0, epoch=2), ARRIVAL)


def test_answers_to_prepare_tokens() -> None:
    for event in ("prepared", "refused", "rejected"):
        assert prepares(row(1, event), CUT)
    for other in (row(1, "activated"), row(1, "prepared", offset=19), row(1, "prepared", plan="e"), row(1, "prepared", epoch=4), {}):
        assert not prepares(other, CUT)


def test_a_row_tells_when_kafka_got_it() -> None:
    assert row(0)["written"] == 77
