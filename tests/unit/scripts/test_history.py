"""Epochs and the plans they stand for; what a rollback goes back to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.statement import digest_of
from swapstream.operators.update import Update
from swapstream.scripts.history import Step, before, history, in_force, next_epoch
from swapstream.scripts.publish import Author
from swapstream.scripts.tokens import Speaker
from tests.support.shards import DEPLOYMENT, NAMESPACE, TOPIC

SAY = Speaker(Author("me"), 1)


def cut(epoch: int, plan: str, **changes: Any) -> Cut:
    return msgspec.structs.replace(Cut(NAMESPACE, DEPLOYMENT, epoch, plan, TOPIC, {0: epoch}), **changes)


def way(plans: str) -> list[Step]:
    """Epoch i with the i-th letter as its plan."""
    return [Step(epoch, plan, "token") for epoch, plan in enumerate(plans)]


@pytest.mark.parametrize(("plans", "back"), [
    ("", None), ("a", None), ("aa", None), ("ab", "a"), ("abc", "b"),
    ("aba", None), ("abab", "a"), ("abcb", "a"), ("abcba", None), ("abac", "a"), ("abcbd", "b"), ("abb", "a")])  # fmt: skip
def test_a_rollback_never_goes_to_what_was_rolled_back(plans: str, back: str | None) -> None:
    step = before(way(plans))
    assert (step.plan if step else None) == back


def test_rolling_back_again_and_again_ends_at_the_first_plan() -> None:
    plans = "abcd"
    while (step := before(way(plans))) is not None:
        plans += step.plan
    assert plans == "abcdcba"


def test_history_is_made_of_cuts_arrivals_and_the_newest_update() -> None:
    definitions = Definitions()
    said = [
        SAY.cut(cut(2, "b")),
        SAY.cut(cut(1, "a")),
        SAY.cut(cut(3, "c", offsets={}, arrival=True)),
        SAY.update(cut(4, digest_of(b"d")), Update(b"d", []).encode()),
        SAY.update(cut(5, digest_of(b"e")), Update(b"e", []).encode()),
        SAY.cut(cut(9, "x", deployment="another")),
        SAY.cut(cut(9, "x", namespace="alice")),
    ]
    for offset, one in enumerate(said):
        definitions.add(offset, one.value)
    found = history(definitions, NAMESPACE, DEPLOYMENT, "0")
    assert [(step.epoch, step.plan, step.how) for step in found] == [
        (0, "0", "submitted"), (1, "a", "token"), (2, "b", "token"), (3, "c", "arrival"), (5, digest_of(b"e"), "update")]  # fmt: skip
    assert in_force(found) == found[-1]
    assert next_epoch(found) == 6


def test_updates_take_each_others_place_and_cuts_do_not() -> None:
    assert SAY.update(cut(1, "a"), b"1").key == SAY.update(cut(2, "b"), b"2").key
    assert SAY.cut(cut(1, "a")).key != SAY.cut(cut(2, "a")).key


def test_the_first_epoch_is_one_whether_the_submitted_plan_is_known_or_not() -> None:
    assert next_epoch([]) == next_epoch([Step(0, "a", "submitted")]) == 1
    assert in_force([]) is None
