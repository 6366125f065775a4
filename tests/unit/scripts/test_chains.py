"""What a handover can't change: which readings go where."""

from __future__ import annotations

import pytest

from swapstream.models.errors import InvalidPlan
from swapstream.operators.cut import Cut
from swapstream.scripts.compatibility import ahead, check_chains
from swapstream.scripts.history import Step
from tests.support.shards import EWM, deployable, route

PLAIN = deployable("plain", champion="a:1").plan
ARCHIVE = deployable("archive").plan


def test_models_extractors_and_thresholds_may_change() -> None:
    check_chains(PLAIN, deployable("other", extractor=EWM, champion="b:1", challengers=("c:1",), threshold=2.0).plan)
    check_chains(PLAIN, deployable("routed", routes=(route("pump-*", champion="a:1"), route(champion="b:1"))).plan)
    check_chains(ARCHIVE, deployable("more", extractor=EWM).plan)


@pytest.mark.parametrize("after", [
    ARCHIVE,
    deployable("some", routes=(route("pump-*", champion="a:1"), route())).plan,
    deployable("decoy", routes=(route(champion="a:1", decoy=True),)).plan,
], ids=["no champion", "champions of some", "decoy"])  # fmt: skip
def test_where_readings_go_may_not(after) -> None:
    for one, other in ((PLAIN, after), (after, PLAIN)):
        with pytest.raises(InvalidPlan, match="which readings have a champion or a decoy"):
            check_chains(one, other)
    check_chains(after, after)


def test_schemas_may_not() -> None:
    with pytest.raises(InvalidPlan, match="can't change schemas"):
        check_chains(PLAIN, deployable("wide", schema="wide", champion="w:1").plan)


def cut(epoch: int, offsets: dict[int, int], arrival: bool = False) -> Step:
    plan = f"plan-{epoch}"
    return Step(epoch, plan, "arrival" if arrival else "token", Cut("prod", "d", epoch, plan, "t", offsets, arrival=arrival))


HISTORY = [Step(0, "plan-0", "submitted"), cut(1, {0: 10, 1: 20}), cut(2, {0: 30, 1: 40}), cut(3, {0: 50, 1: 60})]


@pytest.mark.parametrize(("positions", "epochs"), [
    ({}, [3]),
    ({0: 51, 1: 61}, [3]),
    ({0: 51, 1: 60}, [2, 3]),
    ({0: 11, 1: 61}, [1, 2, 3]),
    ({0: 51, 1: 0}, [0, 1, 2, 3]),
])  # fmt: skip
def test_what_a_shard_that_lags_has_yet_to_answer_under_counts(positions, epochs) -> None:
    assert [step.epoch for step in ahead(HISTORY, positions)] == epochs


def test_what_takes_effect_at_arrival_waits_for_nobody() -> None:
    history = [*HISTORY, cut(4, {}, arrival=True)]
    assert [step.epoch for step in ahead(history, {0: 0, 1: 0})] == [4]
    assert [step.epoch for step in ahead([*history, cut(5, {0: 70, 1: 80})], {0: 70, 1: 81})] == [4, 5]
