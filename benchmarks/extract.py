"""What extraction costs: `python benchmarks/extract.py [--json]`.

Records of 8 fields through identity + ewm, per-device state included, in three ways: frames, as the shard does it; the same code
with frames of one record; and plain Python floats with a dict by device, the loop that one would write without frames. All give
the same bits. Frames of a few sizes and numbers of devices, since one device's readings have to run one after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Float64, Frame
from swapstream.scripts.console import json_option, show

FIELDS = tuple("abcdefgh")
HALFLIFE = 20.0
CASES = ((250, 250), (2_000, 250), (2_000, 20), (2_000, 1))
Way = Callable[[Frame], Float64]


def frames(frame: Frame) -> Way:
    """A frame at once, and the journal of what it touched."""
    composite = Composite.parse(["identity", {"ewm": {"halflife": HALFLIFE}}], FIELDS)
    table = composite.table()

    def way(frame: Frame) -> Float64:
        features, _ = composite.extract(frame, table)
        table.changes()
        return features

    return way


def one_by_one(frame: Frame) -> Way:
    """The same code, a record at a time."""
    composite = Composite.parse(["identity", {"ewm": {"halflife": HALFLIFE}}], FIELDS)
    table = composite.table()
    cut = [
        Frame(
            0,
            frame.offsets[i : i + 1],
            frame.timestamps[i : i + 1],
            frame.times[i : i + 1],
            [d],
            frame.values[i : i + 1],
        )
        for i, d in enumerate(frame.devices)
    ]
    return lambda _: np.concatenate([composite.extract(single, table)[0] for single in cut])


def plain_python(frame: Frame) -> Way:
    """Floats and a dict."""
    alpha = 1.0 - 2.0 ** (-1.0 / HALFLIFE)
    states: dict[str, tuple[list[float], list[float]]] = {}

    def way(frame: Frame) -> Float64:
        rows = []
        for device, reading in zip(frame.devices, frame.values.tolist(), strict=True):
            if device not in states:
                states[device] = (list(reading), [0.0] * len(reading))
            means, variances = states[device]
            rows.append([*reading, *means, *map(math.sqrt, variances)])
            for i, value in enumerate(reading):
                difference = value - means[i]
                step = alpha * difference
                means[i] += step
                variances[i] = (1.0 - alpha) * (variances[i] + difference * step)
        return np.array(rows)

    return way


def telemetry(records: int, devices: int) -> Frame:
    random = np.random.default_rng(0)
    numbers = np.arange(records)
    names = [f"device-{i % devices}" for i in random.permutation(records)]
    return Frame(0, numbers, numbers, numbers, names, random.normal(size=(records, len(FIELDS))))


def measure(way: Way, frame: Frame, seconds: float) -> tuple[float, Float64]:
    """Best microseconds a frame, and the features of the second one."""
    way(frame)
    features, best, end = way(frame), math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        way(frame)
        best = min(best, time.perf_counter() - started)
    return best * 1e6, features


def rows(seconds: float) -> list[dict[str, Any]]:
    found = []
    for records, devices in CASES:
        frame = telemetry(records, devices)
        (fast, bits), (single, same), (plain, too) = (
            measure(make(frame), frame, seconds) for make in (frames, one_by_one, plain_python)
        )
        if not bits.tobytes() == same.tobytes() == too.tobytes():
            raise SystemExit(f"{records} records of {devices} devices: the three ways differ")
        found.append(
            {
                "records": records,
                "devices": devices,
                "µs a frame": round(fast),
                "records/s": round(records / fast * 1e6),
                "× one by one": round(single / fast, 1),
                "× plain Python": round(plain / fast, 1),
            }
        )
    return found


@click.command()
@click.option("--seconds", default=0.5, show_default=True, help="Time for each figure.")
@json_option
def main(seconds: float, as_json: bool) -> None:
    """Microseconds to extract a frame, and how many times as fast that is as other ways."""
    found = rows(seconds)
    show(found, list(found[0]), as_json, "identity + ewm, 8 fields, journal included")


if __name__ == "__main__":
    main()
