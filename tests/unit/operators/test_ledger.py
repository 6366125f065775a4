"""Ledger rows."""

from __future__ import annotations

import hashlib

import msgspec

from swapstream.operators.ledger import LedgerRow, LedgerWriter

ROW = LedgerRow("an id", "prod", "detect", "activated", "nobody", 5, epoch=1)


def test_each_row_names_the_one_before() -> None:
    writer = LedgerWriter("shard 0")
    first, second = writer.write(ROW), writer.write(ROW)
    rows = [msgspec.json.decode(row) for row in (first, second)]
    assert [row.get("prev", "") for row in rows] == ["", hashlib.sha256(first).hexdigest()]
    assert {row["writer"] for row in rows} == {"shard 0"}


def test_a_writer_goes_on_where_another_stopped() -> None:
    whole, before = LedgerWriter("w"), LedgerWriter("w")
    assert whole.write(ROW) == before.write(ROW)
    assert whole.write(ROW) == LedgerWriter("w", before.prev).write(ROW)


def test_what_is_not_known_is_left_out() -> None:
    assert "reason" not in msgspec.json.decode(ROW.encode())
