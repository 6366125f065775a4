"""`swapstream ledger`: rows as they were written, in columns for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from swapstream.operators.ledger import LedgerRow
from swapstream.scripts.ledger import ledger_command
from tests.support.topics import Topics

ROWS = [
    LedgerRow("1", "prod", "d", "accepted", "c", 1_767_225_600_000, epoch=1, plan="f" * 64, plan_name="p", who="me", reason="better"),
    LedgerRow("2", "prod", "d", "activated", "s", 1_767_225_600_050, partition=3, offset=77, epoch=1, plan="f" * 64),
    LedgerRow("3", "prod", "e", "holding", "s", 1_767_225_600_100, partition=0, offset=5, reason="the store is away",
              generation=7),
    LedgerRow("4", "prod", "e", "computing", "w", 1_767_225_600_200, libraries={"python": "3.11.7", "numpy": "2.1.3"},
              processor="x86_64 6"),
]


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, more: tuple[bytes, ...] = ()) -> Result:
    (tmp_path / "env.yaml").write_text(f"directory: {tmp_path}\n")
    topics = Topics(monkeypatch)
    for value in (*more, *(row.encode() for row in ROWS)):
        topics.send("ledger", b"", value)
    return CliRunner().invoke(ledger_command, ["--no-follow", *arguments], obj=str(tmp_path / "env.yaml"), catch_exceptions=False)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_row_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(run(tmp_path, monkeypatch, "--json"))
    assert [json.dumps(row) for row in found] == [json.dumps(json.loads(row.encode())) for row in ROWS]


def test_of_one_deployment_and_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["id"] for row in rows(run(tmp_path, monkeypatch, "--json", "--deployment", "e"))] == ["3", "4"]
    assert [row["id"] for row in rows(run(tmp_path, monkeypatch, "--json", "--limit", "2"))] == ["1", "2"]


def test_lines_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heading, accepted, activated, holding, computing = run(tmp_path, monkeypatch).stdout.splitlines()
    assert heading.split() == ["time", "deployment", "event", "gen", "offset", "epoch", "plan", "ms", "by", "reason"]
    assert accepted.split() == ["2026-01-01", "00:00:00.000", "prod/d", "accepted", "1", "p", "me", "better"]
    assert activated.split() == ["2026-01-01", "00:00:00.050", "prod/d", "activated", "3:77", "1", "ffffffffffff"]
    assert holding.split()[2:] == ["prod/e", "holding", "7", "0:5", "the", "store", "is", "away"]
    assert computing.split()[2:] == ["prod/e", "computing", "python", "3.11.7,", "numpy", "2.1.3,", "x86_64", "6"]


def test_what_is_no_row_is_named_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path, monkeypatch, "--json", more=(b"\xff", b"[1]", b'{"event": "x"}'))
    assert len(rows(result)) == len(ROWS)
    assert result.stderr.count("not a ledger row") == 3
