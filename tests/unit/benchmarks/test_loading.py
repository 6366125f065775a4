"""Rates at full load, within spans of time and outside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.loading import load, rate

APPENDED = np.arange(0, 10_001, 100)
TOTAL = np.cumsum(np.where(APPENDED <= 5_000, 1_000, 500))


def test_rates_are_of_the_time_asked_for():
    assert rate(APPENDED, TOTAL, (1_000.0, 4_000.0)) == 10_000.0
    assert rate(APPENDED, TOTAL, (6_000.0, 8_000.0)) == 5_000.0


def test_what_models_under_way_cost():
    found = load(APPENDED, TOTAL, 1_000.0, 10_000.0, [(3_000.0, 7_000.0)])
    assert (found.plain, found.preparing, found.plain_s, found.preparing_s) == (7_500.0, 7_500.0, 5.0, 4.0)
    assert found.drop == 0


def test_each_is_held_against_the_time_beside_it():
    growing = np.cumsum(APPENDED)
    found = load(APPENDED, growing, 0.0, 10_000.0, [(-500.0, 1_000.0), (2_000.0, 3_000.0), (6_000.0, 8_000.0)])
    assert found.drop == pytest.approx(0, abs=5)
    assert found.preparing_s == 3.0


def test_without_such_a_time_nothing_is_known():
    assert math.isnan(load(APPENDED, TOTAL, 1_000.0, 10_000.0, []).drop)
    assert math.isnan(load(APPENDED, TOTAL, 1_000.0, 10_000.0, [(5_000.0, 20_000.0)]).drop)


def test_messages_of_one_moment_count_together():
    assert rate(np.array([0, 1_000, 1_000]), np.array([0, 10, 30]), (0.0, 1_000.0)) == 30.0
