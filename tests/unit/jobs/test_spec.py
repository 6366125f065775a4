"""What a job is told at submit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec, check_restorable
from swapstream.models.errors import InvalidSettings
from swapstream.operators.assignment import Assignment, Upgrade

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


def test_a_specification_of_before_the_settings_of_latency_and_state_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    SPEC.write(path)
    older = msgspec.json.decode(path.read_bytes())
    for setting in ("buffer_timeout_ms", "bundle_ms", "state_backend", "kafka", "store", "store_prefixes", "generation", "line",
                    "upgrade", "code", "hold_max_bytes"):  # fmt: skip
        del older[setting]
    path.write_bytes(msgspec.json.encode(older))
    assert JobSpec.read(path) == SPEC


ONE = msgspec.structs.replace(SPEC, topics={"telemetry": "t", "parameters": "p", "scores": "s"})
MAY_NOT = {
    "state_backend": {"state_backend": "rocksdb"},
    "delivery": {"delivery": "at_least_once"},
    "topics.telemetry": {"topics": {**ONE.topics, "telemetry": "other"}},
    "topics.parameters": {"topics": {**ONE.topics, "parameters": "other"}},
    "partitions": {"partitions": 3},
}


@pytest.mark.parametrize("named", MAY_NOT)
def test_what_may_not_change_against_a_checkpoint_is_named(named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        check_restorable(ONE, msgspec.structs.replace(ONE, **MAY_NOT[named]), savepoint=False)


def test_everything_else_may_change() -> None:
    other = msgspec.structs.replace(
        ONE, parallelism=1, frame_ms=7, checkpoint_ms=9, transaction_timeout_ms=90_000, buffer_timeout_ms=0, bundle_ms=99,
        topics={**ONE.topics, "scores": "other"}, kafka={"security.protocol": "SSL"}, bootstrap="k:1",
        store="s3://bucket", store_prefixes=("s3://bucket/models",), hold_max_bytes=1_048_576)
    check_restorable(ONE, other, savepoint=False)
    check_restorable(ONE, msgspec.structs.replace(ONE, state_backend="rocksdb"), savepoint=True)
    check_restorable(msgspec.structs.replace(ONE, delivery="at_least_once"), ONE, savepoint=False)


def test_how_much_a_shard_may_hold_is_read_back_and_is_by_default_what_it_always_was(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    more = msgspec.structs.replace(SPEC, hold_max_bytes=200_000_000)
    more.write(path)
    assert JobSpec.read(path).hold_max_bytes == 200_000_000
    assert more.assignment().max_held == 200_000_000
    assert SPEC.hold_max_bytes == Assignment("prod", "pumps", "t", "d" * 64, 7).max_held == 64 * 1024 * 1024


def test_jobs_side_by_side_share_neither_group_nor_transactions() -> None:
    second = msgspec.structs.replace(SPEC, line=2, generation=3)
    assert (SPEC.group, SPEC.transactions) == ("prod.pumps", "swapstream.prod.pumps.output")
    assert (second.group, second.transactions) == ("prod.pumps.2", "swapstream.prod.pumps.output.2")
    assert second.name == SPEC.name


def test_an_upgrade_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    upgrading = msgspec.structs.replace(SPEC, generation=3, upgrade=Upgrade("handover", "e" * 64, 4))
    upgrading.write(path)
    assert JobSpec.read(path) == upgrading
    path.write_text(path.read_text().replace('"handover"', '"magic"'))
    with pytest.raises(InvalidSettings, match="magic"):
        JobSpec.read(path)
