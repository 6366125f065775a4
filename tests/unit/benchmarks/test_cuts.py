"""What benchmarks say of versions: each kind of fault is counted, and what is right is not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuts import (
    Change,
    Count,
    Part,
    by_partition,
    count,
    longest_pause,
    outside,
    seen_after,
    unexplained,
    union,
)

READINGS = {0: np.array([0, 1, 2, 4, 5, 7, 8])}
CHANGES = [Change(1, 150.0, {0: 3}), Change(2, 300.0, {0: 6})]


def part(version: int, offsets: list[int], appended: int = 0) -> Part:
    return Part(0, version, np.array(offsets), appended)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([part(1, [4, 5]), part(0, [0, 1, 2]), part(2, [7, 8])], Count(7, 0, 0, 0, 0)),
        ([part(0, [0, 1, 2, 4]), part(1, [5]), part(2, [7, 8])], Count(7, 1, 0, 0, 0)),
        ([part(0, [0, 2, 5]), part(1, [1, 4]), part(2, [7, 8])], Count(7, 2, 2, 0, 0)),
        ([part(0, [0, 1, 2]), part(1, [4, 5]), part(2, [8])], Count(7, 0, 0, 1, 0)),
        ([part(0, [0, 1, 2, 2]), part(1, [4, 5]), part(2, [7, 8])], Count(7, 0, 0, 0, 1)),
        ([], Count(7, 0, 0, 7, 0)),
    ],
    ids=["right", "late", "mixed", "lost", "twice", "nothing"],
)  # fmt: skip
def test_faults_are_counted(parts, expected):
    assert count(by_partition(parts), READINGS, CHANGES, 0) == expected


def test_a_reading_at_the_very_offset_comes_before_the_cut():
    assert count(by_partition([part(0, [3])]), {0: np.array([3])}, CHANGES[:1], 0).other == 0
    assert count(by_partition([part(1, [3])]), {0: np.array([3])}, CHANGES[:1], 0).other == 1


@pytest.mark.parametrize(("new", "wrong"), [([0, 0, 1, 1], 0), ([1, 1], 0), ([], 0), ([0, 1, 0, 1], 1), ([1, 0], 1), ([1, 1, 0, 0, 1], 2)])
def test_no_cut_explains_all(new, wrong):
    assert unexplained(np.array(new, dtype=bool)) == wrong


def test_times_of_changes():
    scored = by_partition([part(0, [0, 1], 100), part(1, [4], 200), part(2, [7], 950)])
    assert seen_after(scored, CHANGES) == [50.0, 650.0]
    assert longest_pause(scored) == 750.0
    assert longest_pause(scored, until=150.0) == 100.0


def test_spans():
    spans = union([(5, 9), (0, 2), (1, 3), (8, 10)])
    assert spans == [(0, 3), (5, 10)]
    assert outside(-1, 20, spans) == [(-1, 0), (3, 5), (10, 20)]
    assert outside(0, 10, spans) == [(3, 5)]
