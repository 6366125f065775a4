"""Random pasts, random lives: whatever happens, each record ends once, under the plan its offset implies, and none is guessed.

A failure names its seed and how to run it again. As many more as you like: `python -m tests.simulation --seeds 0-1000000`.
"""

from __future__ import annotations

import pytest

from tests.simulation.life import live_through, replay

GROUP, COUNT, MORE = 100, 2_000, 20_000


def groups(first: int, last: int) -> list[range]:
    return [range(n, n + GROUP) for n in range(first, last, GROUP)]


@pytest.mark.parametrize("seeds", groups(0, COUNT), ids=str)
def test_contracts_hold(seeds: range) -> None:
    live_through_all(seeds)


@pytest.mark.long
@pytest.mark.parametrize("seeds", groups(COUNT, MORE), ids=str)
def test_contracts_hold_for_many_more(seeds: range) -> None:
    live_through_all(seeds)


def live_through_all(seeds: range) -> None:
    for seed in seeds:
        try:
            live_through(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed} failed; again: {replay(seed)}") from error
