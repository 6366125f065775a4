"""What a worker computes with."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec

from swapstream.operators.assignment import Assignment
from swapstream.operators.computing import Computed, computing, processor
from swapstream.operators.run import Run

LINUX = ("processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R)\n\n"
         "processor\t: 1\nmodel\t: 7\n")


def test_the_family_of_the_first_processor(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(LINUX)
    assert processor(file) == f"{platform.machine()} GenuineIntel 6 143"
    assert processor(tmp_path / "none") == platform.machine()


def test_each_attempt_has_a_row_of_its_own_and_a_row_again_has_the_same_id() -> None:
    assignment = Assignment("prod", "pumps", "telemetry", "", 0)
    here = Computed.here()
    rows = [computing(assignment, Run("a job", attempt), subtask, here, 7) for attempt, subtask in ((0, 0), (1, 0), (0, 1), (0, 0))]
    assert len({row.id for row in rows}) == 3
    assert rows[0] == rows[3]


def test_what_differs_is_named() -> None:
    here = Computed.here()
    assert here.unlike(here) == []
    other = msgspec.structs.replace(here, libraries={**here.libraries, "numpy": "1.0", "more": "1"}, processor="m68k")
    assert here.unlike(other) == [f"numpy {here.libraries['numpy']}, not 1.0", f"processor {here.processor}, not m68k"]
