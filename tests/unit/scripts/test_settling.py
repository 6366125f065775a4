"""When a job that was away is as little behind as the one before it was."""

from __future__ import annotations

import pytest

from swapstream.scripts.lag import Lag
from swapstream.scripts.settling import settled, words


@pytest.mark.parametrize(("before", "now", "so"), [
    ({0: Lag(10, 0.5)}, {0: Lag(900, 4.9)}, True),  # within two checkpoints of 2 s, and a second
    ({0: Lag(10, 0.5)}, {0: Lag(900, 5.1)}, False),
    ({0: Lag(90_000, 30.0)}, {0: Lag(80_000, 29.0)}, True),
    ({0: Lag(90_000, 30.0)}, {0: Lag(80_000, 29.0), 1: Lag(5, 6.0)}, False),
    ({}, {0: Lag(0, 0.0), 1: Lag(3, None)}, True),
])  # fmt: skip
def test_seconds_count_not_records(before, now, so):
    assert settled(before, now, 2000) is so


def test_it_is_told_in_records():
    assert words({0: Lag(1000, 2.0), 1: Lag(234, 0.1)}) == "1,234 records behind"
