"""Simulated telemetry: reproducible, in order of time, and labelled where it is faulty."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from swapstream.models.schema import Field, Schema, tick
from swapstream.operators.decode import Decoder
from swapstream.operators.frame import Bool, Float64, Int64, RawFrame
from swapstream.operators.labels import DeviceSpan, Label
from swapstream.scripts.faults import KINDS
from swapstream.scripts.pacing import Pacer
from swapstream.scripts.simulate import bad_messages
from swapstream.scripts.simulation import BLOCK, Simulation

NAMES = ("temperature", "pressure", "flow", "speed")


def run(count: int = 9_000, **options: Any) -> tuple[list[str], Int64, Float64, Bool, list[Label]]:
    chunks = list(Simulation(NAMES, count, **({"devices": 7, "fault_rate": 0.05} | options)).chunks())
    return ([device for chunk in chunks for device in chunk.devices], np.concatenate([chunk.times for chunk in chunks]),
            np.concatenate([chunk.values for chunk in chunks]), np.concatenate([chunk.faulty for chunk in chunks]),
            [label for chunk in chunks for label in chunk.labels])


@pytest.mark.parametrize("count", [1, 6, 7, 7 * BLOCK, 7 * BLOCK + 1, 9_000])
def test_as_many_readings_as_asked_for_devices_in_turn(count: int) -> None:
    devices, times, values, faulty, _ = run(count, start=5, period=700)
    assert len(devices) == len(times) == len(values) == len(faulty) == count
    assert devices[:8] == [f"pump-{i % 7:03d}" for i in range(min(count, 8))]
    assert times.tolist() == [5 + i * 100 for i in range(count)]


def test_equal_seeds_give_equal_bits_and_longer_runs_begin_with_shorter_ones() -> None:
    _, _, long, faulty_long, _ = run(9_000, seed=3)
    _, _, short, faulty_short, _ = run(4_000, seed=3)
    _, _, other, _, _ = run(4_000, seed=4)
    assert long[:4_000].tobytes() == short.tobytes()
    assert faulty_long[:4_000].tolist() == faulty_short.tolist()
    assert short.tobytes() != other.tobytes()


def test_labels_cover_exactly_the_faulty_readings() -> None:
    devices, times, _, faulty, labels = run(20_000)
    covered = np.zeros(len(times), bool)
    for label in labels:
        covered |= (np.array(devices) == label.about.device) & (times >= label.about.first) & (times <= label.about.last)
    assert labels
    assert covered.tolist() == faulty.tolist()
    assert {label.kind for label in labels} <= set(KINDS)


def test_only_faulty_readings_differ_from_a_healthy_run() -> None:
    _, _, healthy, none, _ = run(kinds=())
    _, _, values, faulty, _ = run(kinds=("spike", "dropout"))
    assert not none.any()
    assert (healthy != values).any(axis=1).tolist() == faulty.tolist()


def test_fields_hang_together_alike_under_every_seed() -> None:
    first, second = (run(40_000, seed=seed, kinds=())[2] for seed in (1, 2))
    variances = np.linalg.eigvalsh(np.corrcoef(first.T))[::-1]
    assert variances[:3].sum() / variances.sum() > 0.95
    assert np.corrcoef(second.T) == pytest.approx(np.corrcoef(first.T), abs=0.15)
    assert first.std(axis=0) == pytest.approx(Simulation(NAMES, 1).deviations, rel=0.15)


def test_every_bad_message_is_a_dead_letter() -> None:
    schema = Schema.from_columns("engine", NAMES)
    stream = bad_messages(schema)
    payloads: list[bytes | None] = [next(stream) for _ in range(8)]
    n = len(payloads)
    frame, bad = Decoder(schema).decode(RawFrame(0, payloads, np.arange(n), np.arange(n), [None] * n), 0, n)
    assert (len(frame), len(bad), len({one.reason for one in bad})) == (0, 8, 4)


class Clock:
    """Time that passes only by sleeping."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_rows_are_sent_when_due_and_all_of_them(speed: float) -> None:
    clock = Clock()
    pacer = Pacer(speed, clock, clock.sleep)
    times = np.array([7_000_000, 7_000_000, 8_000_000, 7_500_000, 12_000_000])
    seen: dict[int, float] = {}
    for part, offset in ((times[:2], 0), (times[2:], 2)):
        for start, stop in pacer.due(part):
            seen |= {offset + i: clock.now - 100.0 for i in range(start, stop)}
    expected = [0.0, 0.0, 1 / speed, 1 / speed, 5 / speed]
    assert [seen[i] for i in range(5)] == pytest.approx(expected, abs=0.03)


def test_speed_0_never_sleeps() -> None:
    clock = Clock()
    parts = list(Pacer(0, clock, clock.sleep).due(np.arange(5_000) * 1_000_000))
    assert (parts[0][0], parts[-1][1], clock.now) == (0, 5_000, 100.0)
    assert all(left[1] == right[0] for left, right in pairwise(parts))


def test_labels_are_rounded_as_messages_are() -> None:
    label = Label(DeviceSpan("pump-1", 1_767_225_600_123_456, 1_767_225_600_999_999), True, "spike", ("flow",))
    ends = {unit: label.rounded(tick(Schema("s", (Field("flow"),), time_unit=unit))).about[1:] for unit in ("ms", "s", "ns")}
    assert ends["ms"] == (1_767_225_600_123_000, 1_767_225_600_999_000)
    assert ends["s"] == (1_767_225_600_000_000,) * 2
    assert ends["ns"] == label.about[1:]
