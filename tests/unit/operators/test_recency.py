"""Recency: the oldest slots, exact to the record, against sorting all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.operators import recency
from swapstream.operators.recency import Recency

touches = st.tuples(st.just("touch"), st.lists(st.integers(0, 19), min_size=1, max_size=6), st.integers(0, 3))
forgets = st.tuples(st.just("forget"), st.lists(st.integers(0, 19), max_size=3, unique=True), st.just(0))
asks = st.tuples(st.sampled_from(["oldest", "before"]), st.just([]), st.integers(0, 25))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few slots at a time, so that what was sorted runs out."""
    monkeypatch.setattr(recency, "LEAST", 3)


@given(st.lists(touches | forgets | asks, max_size=40))
def test_the_oldest_are_those_that_sorting_gives(events: list[tuple[str, list[int], int]]) -> None:
    found, plain, clock = Recency(5), dict[int, int](), 0
    found.grow(20)
    for kind, slots, number in events:
        if kind == "touch":
            clock += number
            found.touch(np.array(slots), np.full(len(slots), clock))
            for slot in slots:
                plain.pop(slot, None)
                plain[slot] = clock
        elif kind == "forget":
            found.forget(np.array(slots, np.int64))
            plain = {slot: seen for slot, seen in plain.items() if slot not in slots}
        elif kind == "oldest":
            assert found.oldest(number).tolist() == list(plain)[:number]
        else:
            limit = min(number, clock)
            old = [slot for slot, seen in plain.items() if seen < limit]
            assert found.before(limit).tolist() == old
            found.forget(np.array(old, np.int64))
            plain = {slot: seen for slot, seen in plain.items() if slot not in old}


def test_it_goes_on_from_columns_that_were_stored() -> None:
    first, second = Recency(8), Recency(8)
    first.touch(np.array([3, 1, 3, 5]), np.array([10, 11, 12, 12]))
    second.take_over(first.seen, first.order)
    second.touch(np.array([1]), np.array([13]))
    assert second.oldest(9).tolist() == [3, 5, 1]
    assert second.before(13).tolist() == [3, 5]
