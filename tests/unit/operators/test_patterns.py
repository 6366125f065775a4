"""Patterns: the first that matches, as a loop over them would find it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from random import Random

import pytest

from swapstream.operators.patterns import NONE, Pattern, Patterns, patterns_of


def by_loop(patterns: list[Pattern], name: str) -> int:
    return next((p.place for p in patterns if fnmatchcase(name, p.glob) and fnmatchcase(name, p.also)), NONE)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_that_matches_as_a_loop_finds_it(seed: int) -> None:
    rng = Random(seed)

    def text(letters: str, most: int) -> str:
        return "".join(rng.choices(letters, k=rng.randint(0, most)))

    patterns = [Pattern(i // 2, text("ab*?[]!-1", 5), rng.choice(("*", text("ab*", 2)))) for i in range(rng.randint(0, 30))]
    names = [text("ab1", 5) for _ in range(200)]
    some = Patterns(rng.sample(patterns, len(patterns)))
    assert [some.first(name) for name in names] == [by_loop(patterns, name) for name in names]
    assert [some.first(name) for name in names] == [by_loop(patterns, name) for name in names]


def test_what_is_remembered_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.patterns.DEVICES_REMEMBERED", 10)
    some = Patterns([Pattern(0, "a*")])
    assert [some.first(f"{'ab'[i % 2]}{i}") for i in range(100)] == [0, NONE] * 50
    assert len(some._remembered) <= 10


def test_plans_with_the_same_routes_share_what_is_remembered() -> None:
    assert patterns_of((Pattern(0, "x"),)) is patterns_of((Pattern(0, "x"),))
    assert patterns_of((Pattern(0, "x"),)) is not patterns_of((Pattern(0, "x", "y"),))
