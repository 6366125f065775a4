"""How far shards are behind."""

from __future__ import annotations

from swapstream.scripts.lag import Lag, behind


def test_records_before_an_offset_and_how_old_the_first_is() -> None:
    found = behind({0: 100, 1: 100, 2: 100, 3: 100}, {0: 40, 1: 100, 2: 130, 4: 1}, {0: 7_000}, 10_000)
    assert found == {0: Lag(60, 3.0), 1: Lag(0, 0.0), 2: Lag(0, 0.0)}


def test_a_record_that_can_not_be_read_in_time_has_no_age() -> None:
    assert behind({0: 100}, {0: 40}, {}, 10_000) == {0: Lag(60, None)}


def test_clocks_that_differ_give_no_negative_age() -> None:
    assert behind({0: 100}, {0: 40}, {0: 11_000}, 10_000) == {0: Lag(60, 0.0)}


def test_lags_in_words() -> None:
    assert [str(Lag(1234, 2.04)), str(Lag(5))] == ["1,234 records (2.0 s)", "5 records"]
