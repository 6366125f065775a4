"""What a job is told at submit."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import InvalidSettings

SPEC = JobSpec("detect", "prod", "pumps", "d" * 64, 7, "localhost:9092", {"telemetry": "t"}, 2, {0: 5, 1: 0})


def test_a_specification_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    SPEC.write(path)
    assert JobSpec.read(path) == SPEC
    assert SPEC.name == "prod.pumps"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "spec.json"),
        ("{}", "job"),
        ('{"job": 1}', "job"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=message):
        JobSpec.read(path)


def test_a_setting_that_does_not_exist_and_another_delivery_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    SPEC.write(path)
    text = path.read_text()
    for changed, message in ((text.replace('"frame_ms"', '"frames_ms"'), "frames_ms"), (text.replace("exactly_once", "never"), "never")):
        path.write_text(changed)
        with pytest.raises(InvalidSettings, match=message):
            JobSpec.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="none"):
        JobSpec.read(tmp_path / "none.json")
