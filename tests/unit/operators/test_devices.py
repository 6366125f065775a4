"""Device tables: slots, growth, and bounds that are decided record by record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swapstream.operators import recency
from swapstream.operators.devices import DeviceTable
from swapstream.operators.layout import Layout, Part
from swapstream.operators.retention import DEFAULT_RETENTION, Retention

LAYOUT = Layout((Part("ewm", "ewm", 1, 1, "{}", {"mean": 2, "count": 1}),))

steps = st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([0, 0, 1, 1, 2, 5, -3]))
retentions = st.builds(Retention, max=st.integers(1, 9), evict_after=st.integers(1, 12))


def plain(records: list[tuple[str, int]], retention: Retention) -> tuple[list[float], dict[str, float]]:
    """Readings that each record's device had before, and those of all devices at the end, oldest first: a dict, one record
    at a time."""
    counts, seen, clock, found = dict[str, float](), dict[str, int](), -(10**9), []
    for device, time in records:
        clock = max(clock, time)
        for other in [other for other, last in seen.items() if clock - last > retention.evict_after]:
            del counts[other], seen[other]
        if device not in counts and len(counts) == retention.max:
            oldest = next(iter(seen))
            del counts[oldest], seen[oldest]
        found.append(counts.get(device, 0.0))
        counts[device] = found[-1] + 1
        seen.pop(device, None)
        seen[device] = clock
    return found, {device: counts[device] for device in seen}


def visit(table: DeviceTable, records: list[tuple[str, int]]) -> list[float]:
    """What a frame does to a table: here each reading finds the number of those before it, and adds 1."""
    slots = table.slots([device for device, _ in records], np.array([time for _, time in records], np.int64))
    count, found = table.columns["ewm.count"], []
    for slot in slots.tolist():
        found.append(float(count[slot, 0]))
        count[slot] += 1
    return found


@given(st.lists(steps, min_size=1, max_size=60), retentions, st.data())
def test_what_is_forgotten_is_decided_record_by_record(
    jumps: list[tuple[str, int]], retention: Retention, data: st.DataObject
) -> None:
    times = np.cumsum([jump for _, jump in jumps]).tolist()
    records = [(device, time) for (device, _), time in zip(jumps, times, strict=True)]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(records)))))
    table, found = DeviceTable(LAYOUT, retention, capacity=1), []
    for first, last in zip([0, *cuts], [*cuts, len(records)], strict=True):
        found += visit(table, records[first:last]) if first < last else []
        assert len(table) <= retention.max
    wanted, left = plain(records, retention)
    assert found == wanted
    assert table.devices == list(left)


@example([(device, 1) for device in "abcabcab"], Retention(max=2))
@given(st.lists(steps, min_size=1, max_size=40), retentions)
def test_slots_of_the_forgotten_are_used_again(jumps: list[tuple[str, int]], retention: Retention) -> None:
    table = DeviceTable(LAYOUT, retention, capacity=1)
    for time, (device, _) in enumerate(jumps):
        visit(table, [(device, time)])
    assert len(table.names) <= min(8, retention.max)


def test_slots_survive_growth() -> None:
    table = DeviceTable(LAYOUT, capacity=1)
    assert table.slots(["b", "a", "b"], np.array([1, 2, 3])).tolist() == [0, 1, 0]
    table.columns["ewm.mean"][:2] = [[1, 2], [3, 4]]
    assert table.slots([f"d{i}" for i in range(100)], np.arange(100)).tolist() == list(range(2, 102))
    assert len(table) == 102
    assert table.columns["ewm.mean"][:3].tolist() == [[1, 2], [3, 4], [0, 0]]
    assert table.devices[:3] == ["a", "b", "d0"]


def test_seen_is_the_log_clock_at_the_last_record_and_never_goes_back() -> None:
    table = DeviceTable(LAYOUT)
    table.slots(["a", "b", "a"], np.array([5, 9, 7]))
    table.slots(["c"], np.array([2]))
    assert (table.devices, table.seen.tolist(), table.clock) == (["b", "a", "c"], [9, 9, 9], 9)


def test_of_a_thousand_devices_the_oldest_go_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recency, "LEAST", 50)
    table = DeviceTable(LAYOUT, Retention(max=1_000))
    for first in range(0, 10_000, 250):
        table.slots([f"d{i}" for i in range(first, first + 250)] + ["always"], np.full(251, first))
    assert len(table) == 1_000
    assert table.devices[-1] == "always"
    assert table.devices[0] == "d9001"
    assert len(table.names) <= 1_000 + 251


def test_other_bounds_hold_from_the_next_record_on() -> None:
    table = DeviceTable(LAYOUT, Retention(evict_after=10))
    table.slots(list("abcd"), np.array([0, 5, 12, 14]))
    table.retain(Retention(max=2, evict_after=1_000))
    assert table.devices == ["c", "d"]
    table.retain(DEFAULT_RETENTION)
    table.slots(["a"], np.array([500]))
    assert table.devices == ["c", "d", "a"]
