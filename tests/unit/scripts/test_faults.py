"""Faults: where and how they show, and that nothing depends on where readings are cut."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidSettings
from swapstream.scripts.faults import KINDS, LENGTHS, QUIET, Fault, inject, parse_kinds, plan

DEVIATIONS = np.array([1.0, 2.0, 4.0])
HEALTHY = np.arange(60.0).reshape(20, 3) + 100.0


def injected(fault: Fault, cuts: list[int]) -> np.ndarray:
    values, held = HEALTHY.copy(), HEALTHY[fault.first]
    for start, stop in zip([0, *cuts], [*cuts, len(values)], strict=True):
        inject(fault, values[start:stop], start, DEVIATIONS, held)
    return values


def fault(kind: str, size: float = 5.0) -> Fault:
    return Fault(kind, (0, 2), 5, 8, size, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_changes_its_fields_and_readings_and_no_others(kind: str) -> None:
    changed = injected(fault(kind), []) != HEALTHY
    assert changed[6:9, [0, 2]].all()
    changed[5:9, [0, 2]] = False
    assert not changed.any()


@pytest.mark.parametrize(("kind", "expected"), [
    ("spike", [120.0, 123.0, 126.0, 129.0]),
    ("level_shift", [120.0, 123.0, 126.0, 129.0]),
    ("drift", [116.25, 120.5, 124.75, 129.0]),
    ("stuck", [115.0, 115.0, 115.0, 115.0]),
    ("dropout", [0.0, 0.0, 0.0, 0.0]),
])
def test_how_each_kind_looks(kind: str, expected: list[float]) -> None:
    assert injected(fault(kind), [])[5:9, 0].tolist() == expected


def test_sizes_are_in_deviations_of_the_field_and_signed() -> None:
    assert (injected(fault("spike", -5.0), []) - HEALTHY)[5].tolist() == [-5.0, 0.0, -20.0]


@given(st.sampled_from(KINDS), st.lists(st.integers(0, 20), max_size=4))
def test_cuts_do_not_matter(kind: str, cuts: list[int]) -> None:
    assert injected(fault(kind), sorted(cuts)).tobytes() == injected(fault(kind), []).tobytes()


@given(st.sampled_from(KINDS), st.floats(0.001, 0.4), st.integers(1, 10), st.integers(0, 2**32))
def test_plans_are_ordered_apart_and_seeded(kind: str, rate: float, fields: int, seed: int) -> None:
    found = list(islice(plan([kind], rate, fields, [seed]), 20))
    assert found == list(islice(plan([kind], rate, fields, [seed]), 20))
    ends = [-1] + [item.last for item in found]
    for end, item in zip(ends, found, strict=False):
        assert item.first - end > QUIET - 1
        assert LENGTHS[kind][0] <= item.last - item.first + 1 <= LENGTHS[kind][1]
        assert 1 <= len(set(item.fields)) == len(item.fields) <= min(3, fields)
        assert set(item.fields) <= set(range(fields))


def test_the_rate_is_about_the_share_of_faulty_readings() -> None:
    found = list(islice(plan(KINDS, 0.1, 3, [1]), 3_000))
    assert sum(item.last - item.first + 1 for item in found) / found[-1].last == pytest.approx(0.1, rel=0.1)


def test_no_kinds_or_no_rate_no_faults() -> None:
    assert list(plan([], 0.1, 3, [1])) == list(plan(KINDS, 0.0, 3, [1])) == []


def test_kinds_by_name() -> None:
    assert (parse_kinds("all"), parse_kinds("none"), parse_kinds("spike, drift")) == (KINDS, (), ("spike", "drift"))
    with pytest.raises(InvalidSettings, match="'dirft'"):
        parse_kinds("spike,dirft")
