"""Counting what comes out: once each, and only one deployment's."""

from __future__ import annotations

import msgspec
import pytest

from swapstream.operators.chaining import Chaining
from swapstream.operators.dead_letters import dead_letter
from swapstream.scripts import tally as tally_module
from swapstream.scripts.tally import Stretch, Tally
from tests.support.frames import scores_frame


def frame(offsets: list[int], epoch: int = 0, model: str = "m:1", deployment: str = "demo", prev: int = -1) -> bytes:
    return scores_frame(offsets, prev, deployment, 2, epoch, model).encode()


def test_records_count_once_and_repeats_are_told() -> None:
    tally = Tally("prod", "demo")
    for value in (frame([0, 1, 3]), frame([3, 4])):
        tally.take_scores(value)
    assert (tally.scored, tally.repeats) == (4, 1)


def test_what_is_missing_is_told_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "Chaining", lambda: Chaining(max_held=0))
    tally = Tally("prod", "demo")
    for value in (frame([0, 1]), frame([7, 8], prev=5)):
        tally.take_scores(value)
    assert tally.scored == 4
    assert [str(gap) for gap in tally.gaps] == [
        "prod/demo of telemetry-2: readings behind offset 1 up to offset 5 are missing"]


def test_each_epoch_has_its_stretch() -> None:
    tally = Tally("prod", "demo")
    for value in (frame([0, 1]), frame([2, 5]), frame([7, 9], 1, "m:2")):
        tally.take_scores(value)
    assert tally.stretches == [Stretch(2, 0, "m:1", 0, 5), Stretch(2, 1, "m:2", 7, 9)]


def test_other_deployments_are_passed_over() -> None:
    tally = Tally("prod", "demo")
    tally.take_scores(frame([0, 1], deployment="other"))
    for deployment in ("other", "demo"):
        tally.take_anomaly(msgspec.json.encode({"namespace": "prod", "deployment": deployment}))
    assert tally.scored == 0
    assert len(tally.anomalies) == 1


def test_dead_letters_of_others_are_passed_over() -> None:
    tally = Tally("prod", "pumps")
    letter = dead_letter("telemetry", 0, 7, 0, "malformed", "", b"?")
    tally.take_dead_letter(msgspec.structs.replace(letter, namespace="prod", deployment="fans").encode())
    assert tally.dead == 0
    tally.take_dead_letter(msgspec.structs.replace(letter, namespace="prod", deployment="pumps").encode())
    assert tally.dead == 1


def test_a_record_that_two_older_deployments_refuse_is_one_dead_letter() -> None:
    tally = Tally("prod", "demo")
    letter = dead_letter("telemetry", 0, 7, 0, "malformed", "", b"?").encode()
    tally.take_dead_letter(letter)
    tally.take_dead_letter(letter)
    assert tally.dead == 1
