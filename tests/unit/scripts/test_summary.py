"""Anomalies against known faults, and where a swap cut."""

from __future__ import annotations

from swapstream.operators.cut import Cut
from swapstream.scripts.summary import Span, cut_rows, quality
from swapstream.scripts.tally import Stretch

SPANS = [Span("a", 10, 20, "drift"), Span("a", 40, 40, "spike"), Span("b", 10, 20, "drift")]


def anomaly(device: str, time: int) -> dict[str, object]:
    return {"device": device, "time": time}


def test_a_fault_is_found_by_an_anomaly_of_its_device_within_its_bounds() -> None:
    found = quality([anomaly("a", 20), anomaly("a", 40), anomaly("b", 40)], SPANS)
    assert found.kinds == {"drift": (1, 2), "spike": (1, 1)}
    assert found.recall == 2 / 3
    assert found.precision == 2 / 3


def test_several_anomalies_in_one_fault_find_it_once_and_are_all_right() -> None:
    found = quality([anomaly("a", time) for time in range(10, 21)], SPANS)
    assert found.kinds["drift"] == (1, 2)
    assert found.precision == 1.0


def test_nothing_to_divide_by_is_none() -> None:
    assert quality([], SPANS).precision is None
    assert quality([], SPANS).recall == 0
    assert quality([], []).recall is None


def test_cut_rows_name_the_last_record_before_and_the_first_after() -> None:
    cut = Cut("prod", "demo", 2, "digest", "telemetry", {1: 50, 0: 100})
    stretches = [Stretch(0, 1, "m:1", 3, 99), Stretch(0, 2, "m:2", 101, 180), Stretch(1, 1, "m:1", 0, 51)]
    first, second = cut_rows(cut, stretches)
    assert (first["partition"], first["last_before"], first["token"], first["first_after"]) == (0, 99, 100, 101)
    assert (first["before"], first["after"], first["exact"]) == ("m:1", "m:2", True)
    assert second["first_after"] is None
    assert not second["exact"], "offset 51 was scored by the old plan behind the token at 50"
