"""What a handover can't change: which readings go where."""

from __future__ import annotations

import pytest

from swapstream.models.errors import InvalidPlan
from swapstream.scripts.compatibility import check_chains
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
