"""Shards' answers to a swap, read from the ledger."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.operators.ledger import LedgerRow
from swapstream.scripts.acknowledge import acknowledgements, answers, ledger_row
from swapstream.scripts.environment import Environment
from tests.support.topics import Topics

CUT = Cut("prod", "detect", 3, "d" * 64, "telemetry", {0: 10, 1: 20})
ENVIRONMENT = Environment()


def answer(partition: int, event: str = "activated", **changes: Any) -> bytes:
    row = LedgerRow("id", "prod", "detect", event, "w", 1, partition=partition, offset=CUT.offsets[partition], epoch=3)
    return msgspec.structs.replace(row, **changes).encode()


def told(monkeypatch: pytest.MonkeyPatch, values: list[bytes | None], timeout: float = 60) -> list[tuple[int, str]]:
    topics = Topics(monkeypatch)
    for value in values:
        topics.send(ENVIRONMENT.topics.ledger.name, b"k", value)
    return [(row["partition"], row["event"]) for row in acknowledgements(ENVIRONMENT, CUT, timeout)]


def test_each_shard_answers_once_whatever_else_is_on_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [
        None,
        b"nonsense",
        b"\xff",
        b"[]",
        b'{"event": "activated", "partition": [0]}',
        answer(0, "holding"),
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


def test_a_row_of_another_topic_offset_is_no_answer() -> None:
    assert answers(ledger_row(answer(0)), CUT)
    assert not answers(ledger_row(answer(0, offset=None)), CUT)
    assert not answers({}, CUT)
