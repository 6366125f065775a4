"""State of another job, migrated to another plan: whose extractors' code need not be here any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators import extractors as package
from swapstream.operators.extractors import ewm, extractors
from swapstream.operators.extractors.base import Extractor, State
from swapstream.operators.extractors.spec import parse_spec
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.loaded_input import extractor_of
from swapstream.operators.plan_file import DevicesFile
from tests.support.jobs import BLUE, Job, green_of
from tests.support.shards import EWM, deployable, fan, frame, parameters_of
from tests.unit.operators.test_handover import pumps


class Counting(Extractor, frozen=True, kw_only=True):
    """How many readings a device has had."""

    NAME: ClassVar[str] = "counting"

    def features(self) -> tuple[str, ...]:
        return ("readings",)

    def state(self) -> dict[str, int]:
        return {"n": 1}

    def step(self, values: Float64, times: Int64, state: State) -> tuple[Float64, Bool, State]:
        n = state["n"] + 1
        return n, np.zeros(len(n), bool), {"n": n}


class CountingTwice(Counting, frozen=True, kw_only=True):
    """Its state is twice as much."""

    NAME: ClassVar[str] = "counting"
    VERSION: ClassVar[int] = 2
    SCHEMA_VERSION: ClassVar[int] = 2

    def state(self) -> dict[str, int]:
        return {"twice": 1}

    def step(self, values: Float64, times: Int64, state: State) -> tuple[Float64, Bool, State]:
        twice = state["twice"] + 2
        return twice, np.zeros(len(twice), bool), {"twice": twice}

    def migrate(self, version: int, columns: Mapping[str, Float64]) -> State:
        return {"twice": 2 * columns["n"]}


class Failing(CountingTwice, frozen=True, kw_only=True):
    """Can't read what was before."""

    NAME: ClassVar[str] = "counting"

    def migrate(self, version: int, columns: Mapping[str, Float64]) -> State:
        return {"twice": columns["m"]}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Which class "counting" is, of this release or another one; None: there is none."""
    built_in = dict(extractors())

    def use(kind: type[Extractor] | None) -> None:
        found = {**built_in, **({"counting": kind} if kind else {})}
        monkeypatch.setattr("swapstream.operators.extractors.spec.extractors", lambda: found)
        extractor_of.cache_clear()

    yield use
    extractor_of.cache_clear()


def lived(known: Any, **roles: Any) -> tuple[Job, Any]:
    """A job of the release before, and the plan of this one."""
    known(Counting)
    old = deployable("old", extractor=("counting", *EWM), **roles)
    blue = Job(parameters_of(old), old.digest, BLUE)
    for first in range(0, 12, 3):
        blue.take(frame(pumps(3, first), first=first))
    return blue, old


def test_state_is_migrated_without_the_code_that_wrote_it(known: Any) -> None:
    blue, _ = lived(known)
    known(CountingTwice)
    new = deployable("new", extractor=("counting", "differences"))
    blue.parameters.publish(new)
    green = green_of(blue, new.digest)
    green.take(frame(pumps(3, 12), first=12))
    table = green.shard.tables["pumps"]
    assert sorted(table.devices) == ["pump-0", "pump-1", "pump-2"]
    assert table.columns["counting.twice"][: len(table.names), 0].tolist() == [10.0] * 3
    again = green.restarted()
    assert again.shard.tables.snapshot() == green.shard.tables.snapshot()


def test_an_extractor_that_is_gone_is_left_behind(known: Any) -> None:
    blue, _ = lived(known)
    known(None)
    with pytest.raises(Exception, match="counting"):
        parse_spec(["counting"])
    new = deployable("new", extractor=EWM)
    blue.parameters.publish(new)
    green = green_of(blue, new.digest)
    green.take(frame(pumps(3, 12), first=12))
    assert green.shard.tables["pumps"].columns["ewm.count"][:3, 0].tolist() == [5.0] * 3


def test_state_stays_another_jobs_until_parameters_is_read(known: Any) -> None:
    """What is held meanwhile, and a restart, change nothing about that."""
    blue, old = lived(known)
    known(CountingTwice)
    new = deployable("new", extractor=("counting",))
    blue.parameters.publish(new)
    green = green_of(blue, new.digest, read=blue.parameters.end - 1).restarted(read=blue.parameters.end - 1)
    assert green.take(frame(pumps(3, 12), first=12)) == []
    assert (green.shard.head.generation, green.shard.head.duty, green.shard.head.plan) == (BLUE, "emit", old.digest)
    twin = green.restarted()
    for job in (green, twin):
        job.read()
        assert (job.shard.head.duty, job.shard.head.last, job.shard.holding.frames) == ("mute", 14, type(job.shard.holding.frames)())
        assert job.shard.tables["pumps"].columns["counting.twice"][:3, 0].tolist() == [10.0] * 3


def test_a_shard_that_waits_can_be_taken_whole(known: Any) -> None:
    blue, old = lived(known)
    green = green_of(blue, old.digest, end=blue.parameters.end + 1)
    green.take(frame(pumps(3, 12), first=12))
    twin = green_of(Job(blue.parameters, old.digest, BLUE), old.digest)
    twin.shard.restore(green.shard.snapshot())
    twin.read()
    assert twin.shard.head.last == 14
    assert twin.shard.tables["pumps"].columns["counting.n"][:3, 0].tolist() == [5.0] * 3


def test_a_migration_that_fails_names_extractor_versions_and_reason(known: Any) -> None:
    blue, _ = lived(known)
    known(Failing)
    new = deployable("new", extractor=("counting",))
    blue.parameters.publish(new)
    green = green_of(blue, new.digest)
    with pytest.raises(InvalidDefinition, match=r"extractor 'counting': migrate from schema version 1.*KeyError: 'm'"):
        green.take(frame(pumps(1, 12), first=12))


def test_bounds_of_the_plan_before_hold_for_what_it_remembered(known: Any) -> None:
    """Devices that the old plan would have forgotten are forgotten."""
    blue, _ = lived(known, devices=DevicesFile(100, "1s"))
    new = deployable("new", extractor=("counting",))
    blue.parameters.publish(new)
    blue.take(frame(pumps(1, 12), first=2_000))
    green = green_of(blue, new.digest)
    green.take(frame(pumps(1, 12), first=2_001))
    assert green.shard.tables["pumps"].devices == ["pump-0"]


def test_devices_go_on_under_another_schema_of_their_type(known: Any) -> None:
    known(Counting)
    old = deployable("old", schema="fans", extractor=("counting",))
    new = deployable("new", schema="fans-2", extractor=("counting",))
    blue = Job(parameters_of(old, new), old.digest, BLUE)
    blue.take(frame([fan(), fan(), fan("fan-2")]))
    green = green_of(blue, new.digest)
    green.take(frame([b"{"], first=3))
    assert green.shard.tables["fans-2"].devices == ["fan-1", "fan-2"]


def test_the_package_finds_no_extractor_of_these_tests() -> None:
    assert "counting" not in package.extractors()
    assert ewm.ExponentiallyWeighted.NAME in package.extractors()
