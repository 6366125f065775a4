"""What the extractors that look back compute: against plain Python over lists, one record at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidPlan
from swapstream.operators.device_store import BASE
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.trials import lives
from swapstream.operators.retention import Retention
from tests.unit.operators.test_extractors import FIELDS, Records, frame_of, records, records_of, retentions, run

Reading = tuple[tuple[float, ...], int]
Answer = tuple[list[float], bool]
"""Features and warming of the last reading of a device's history."""
Oracle = Callable[..., Answer]


def rolling(history: list[Reading], n: int = 20, before: bool = False) -> Answer:
    window = history[-n - 1 : -1] if before else history[-n:]
    columns = [
        [max(min(value, 1e150), -1e150) for value in column]
        for column in zip(*(r[0] for r in window or history), strict=True)
    ]
    means, deviations = [], []
    for column in columns:
        total = 0.0
        for value in column:
            total += value
        mean, total = total / len(column), 0.0
        for value in column:
            total += (value - mean) * (value - mean)
        means.append(mean)
        deviations.append(math.sqrt(total / len(column)))
    return [*means, *deviations, *map(min, columns), *map(max, columns)], len(window) < n


def lags(history: list[Reading], steps: tuple[int, ...] = (1,)) -> Answer:
    found = [value for step in steps for value in history[max(0, len(history) - 1 - step)][0]]
    return found, len(history) <= max(steps)


def window(history: list[Reading], n: int = 10) -> Answer:
    return lags(history, tuple(range(n - 1, -1, -1)))


def rate(history: list[Reading]) -> Answer:
    values, time = history[-1]
    earlier, since = history[-2] if len(history) > 1 else history[-1]
    seconds = (float(time) - float(since)) / 1e6
    return [(a - b) / seconds if seconds else 0.0 for a, b in zip(values, earlier, strict=True)], len(history) == 1


def elapsed(history: list[Reading]) -> Answer:
    return [(float(history[-1][1]) - float(history[max(0, len(history) - 2)][1])) / 1e6], len(history) == 1


def differences(history: list[Reading]) -> Answer:
    earlier = history[max(0, len(history) - 2)][0]
    return [a - b for a, b in zip(history[-1][0], earlier, strict=True)], len(history) == 1


CASES: list[tuple[Oracle, dict[str, Any]]] = [
    (rolling, {"n": 2}),
    (rolling, {"n": 3}),
    (rolling, {"n": 7, "before": True}),
    (rolling, {}),
    (lags, {}),
    (lags, {"steps": (2, 5, 1)}),
    (window, {"n": 2}),
    (window, {"n": 4}),
    (window, {}),
    (rate, {}),
    (elapsed, {}),
    (differences, {}),
]


@pytest.mark.parametrize(("oracle", "settings"), CASES, ids=lambda case: getattr(case, "__name__", str(case)))
@given(some=records, retention=retentions, data=st.data())
def test_each_is_what_plain_python_computes_record_by_record(
    oracle: Oracle, settings: dict[str, Any], some: Records, retention: Retention, data: st.DataObject
) -> None:
    spec = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    composite = Composite.parse([{oracle.__name__: spec}], FIELDS, retention)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(some)))))
    features, warming, _ = run(composite, some, cuts)
    for places in lives(records_of(some), retention):
        history: list[Reading] = []
        for place in places:
            history.append((some[place][1], some[place][2]))
            wanted, cold = oracle(history, **settings)
            # Zeros of either sign are the same number, and which one a minimum is nobody promises.
            assert features[place].tolist() == wanted
            assert warming[place] == cold


def test_they_share_what_they_keep_and_keep_no_field_that_nobody_looks_at() -> None:
    spec = [{"rolling": {"n": 9, "fields": ["flow"]}}, {"window": {"n": 4, "fields": ["flow", "temperature"]}}, "ewm"]
    layout = Composite.parse(spec, FIELDS).layout
    assert layout.rings == {"readings.values": ("readings.count", 8, 2)}
    assert layout.columns == {"ewm.mean": 3, "ewm.variance": 3, "ewm.count": 1, "readings.count": 1}


def test_a_window_alone_has_a_shape() -> None:
    assert Composite.parse([{"window": {"n": 4, "fields": ["flow", "temperature"]}}], FIELDS).shape == (4, 2)
    assert Composite.parse([{"window": {"n": 4}}, "ewm"], FIELDS).shape == ()
    assert Composite.parse(["ewm"], FIELDS).shape == ()


def test_a_window_is_the_readings_oldest_first() -> None:
    some: Records = [("a", (i, 10 * i, 100 * i)) for i in range(1, 5)]
    features, warming, _ = run(Composite.parse([{"window": {"n": 3, "fields": ["flow", "temperature"]}}], FIELDS), some)
    assert features.reshape(-1, 3, 2).tolist() == [
        [[100, 1], [100, 1], [100, 1]],
        [[100, 1], [100, 1], [200, 2]],
        [[100, 1], [200, 2], [300, 3]],
        [[200, 2], [300, 3], [400, 4]],
    ]
    assert warming.tolist() == [True, True, False, False]


def test_an_absurd_reading_leaves_a_rolling_window_when_its_time_is_over() -> None:
    some: Records = [("a", (1.0, 2.0, 3.0))] * 3 + [("a", (1e308, -1e308, 1e308))] + [("a", (1.0, 2.0, 3.0))] * 4
    features, _, _ = run(Composite.parse([{"rolling": {"n": 3}}], FIELDS), some)
    assert np.isfinite(features).all()
    assert features[-1].tolist() == features[2].tolist() == [1, 2, 3, 0, 0, 0, 1, 2, 3, 1, 2, 3]


def test_rolling_before_takes_the_current_reading_for_its_own_past_only_at_first() -> None:
    some: Records = [("a", (v, v, v)) for v in (5.0, 7.0, 1.0, 0.0)]
    spec = [{"rolling": {"n": 2, "before": True, "statistics": ["mean", "max"], "fields": ["flow"]}}]
    features, warming, _ = run(Composite.parse(spec, FIELDS), some)
    assert features.tolist() == [[5, 5], [5, 5], [6, 7], [4, 7]]
    assert warming.tolist() == [True, True, False, False]


def test_a_rate_is_per_second_of_event_time() -> None:
    rows = [(1.0, 0), (2.0, 500_000), (2.0, 500_000), (9.0, 500_000), (8.0, 0)]
    some: Records = [("a", (v, v, v), time, 0) for v, time in rows]
    features, warming, _ = run(Composite.parse([{"rate": {"fields": ["flow"]}}, "elapsed"], FIELDS), some)
    assert features.tolist() == [[0, 0], [2, 0.5], [0, 0], [0, 0], [2, -0.5]]
    assert warming.tolist() == [True, False, False, False, False]


def test_a_frame_with_more_readings_of_a_device_than_a_window_holds() -> None:
    some: Records = [("a", (float(i), 0.0, 0.0)) for i in range(1_000)]
    composite = Composite.parse([{"rolling": {"n": 50, "fields": ["temperature"]}}], FIELDS)
    features, _, snapshot = run(composite, some, [])
    assert features[-1].tolist() == [974.5, np.std(np.arange(50)), 950, 999]
    assert composite.restore({BASE: snapshot}).rings["readings.values"].shape[1:] == (49, 1)


@given(some=records, rest=records, depth=st.integers(1, 6), other=st.integers(1, 6))
def test_a_swap_carries_as_many_readings_as_both_keep(some: Records, rest: Records, depth: int, other: int) -> None:
    before = Composite.parse([{"lags": {"steps": [depth]}}], FIELDS)
    after = Composite.parse([{"lags": {"steps": [other], "fields": ["flow", "pressure"]}}], FIELDS)
    table = before.table()
    before.extract(frame_of(some), table)
    table = after.carry(table)
    features, warming = after.extract(frame_of(rest, len(some)), table)
    histories: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for device, row, *_ in some:
        histories[device] = [*histories[device], row][-depth:]
    for place, (device, row, *_) in enumerate(rest):
        histories[device].append(row)
        known = histories[device]
        wanted = known[max(0, len(known) - 1 - other)]
        assert features[place].tolist() == [wanted[2], wanted[1]]
        assert warming[place] == (len(known) <= other)


def test_readings_of_other_fields_are_not_carried() -> None:
    before, after = (Composite.parse([{"lags": {"fields": [field]}}], FIELDS) for field in ("flow", "pressure"))
    table = before.table()
    before.extract(frame_of([("a", (1, 2, 3))]), table)
    assert after.extract(frame_of([("a", (4, 5, 6))]), after.carry(table))[1].tolist() == [True]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"rolling": {"n": 1}}, "'rolling': setting 'n' is 1, allowed is `int` >= 2"),
        ({"rolling": {"n": 10_001}}, "allowed is `int` <= 10000"),
        ({"rolling": {"statistics": ["median"]}}, "allowed is one of mean, deviation, min, max"),
        ({"rolling": {"statistics": ["min", "min"]}}, "each at most once"),
        ({"lags": {"steps": []}}, "one or more numbers of readings"),
        ({"lags": {"steps": [0]}}, "'lags': setting 'steps'"),
        ({"lags": {"steps": [2, 2]}}, "each at most once"),
        ({"window": {"n": 2.5}}, "setting 'n' is 2.5, allowed is `int`"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(spec: Any, message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        Composite.parse([spec], FIELDS)
