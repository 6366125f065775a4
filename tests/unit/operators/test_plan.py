"""Plans: from a person's YAML to what is deployed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidPlan, UnknownName
from swapstream.operators.plan import Plan
from swapstream.operators.plan_file import PlanFile, RouteFile, load_plan_file, resolve
from tests.support.shards import EWM, FIELDS, Catalogue, deployable, model, route

YAML = """
name: pumps
schema: pumps
extractor: [identity]
champion: a:1
challengers: [b:1]
routes:
  - {devices: "fan-*", champion: c:1, threshold: 2.5}
"""


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(YAML)
    plan = resolve(load_plan_file(path), Catalogue(FIELDS))
    fans, rest = plan.routes
    assert (fans.devices, rest.devices) == ("fan-*", "*")
    assert [(role, pin.name) for role, pin in rest.roles()] == [("champion", "a:1"), ("challenger", "b:1")]
    assert fans.threshold == 2.5
    assert {pin.name for pin in plan.models()} == {"a:1", "b:1", "c:1"}
    assert rest.champion is not None
    assert rest.champion.digest == model("a:1", FIELDS).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YAML + "chalengers: []", "chalengers"),
        ("name: [", "plan.yaml"),
        ("schema: pumps", "name"),
        ("- 1", "plan.yaml"),
    ],
)
def test_a_file_that_can_not_be_a_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InvalidPlan, match=message):
        load_plan_file(path)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match=r"none\.yaml"):
        load_plan_file("none.yaml")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (PlanFile("p", "pumps", challengers=("a:1",)), "need a champion"),
        (PlanFile("p", "pumps", canary="a:1"), "need a champion"),
        (PlanFile("p", "pumps", champion="a:1", challengers=("b:1", "b:1")), "stands there twice"),
        (PlanFile("p", "pumps", champion="a:1", threshold=float("nan")), "finite"),
        (PlanFile("p", "pumps", champion="a:1", routes=(RouteFile("*"),)), "twice"),
        (PlanFile("p", "pumps", extractor=("nonsense",)), "nonsense"),
        (PlanFile("p", "pumps", extractor=({"ewm": {"halflife": 3}},), champion="a:1"), "takes features"),
    ],
)
def test_what_does_not_fit_together_is_refused(file: PlanFile, message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        resolve(file, Catalogue(FIELDS))


def test_a_plan_without_a_champion_is_valid() -> None:
    plan = deployable("archive").plan
    assert plan.models() == set()
    assert len(plan.routes) == 1


def test_routes_for_some_devices_leave_the_rest_without_a_model() -> None:
    plan = deployable("p", routes=(route("pump-*", champion="a:1"),)).plan
    assert [one.devices for one in plan.routes] == ["pump-*"]


def test_everything_that_decides_a_score_is_in_the_digest() -> None:
    plans = [
        deployable("p", champion="a:1"),
        deployable("p", champion="a:2"),
        deployable("p", champion="a:1", threshold=1.0),
        deployable("p", champion="a:1", canary="a:2"),
        deployable("p", champion="a:1", challengers=("a:2",)),
        deployable("p", extractor=EWM, champion="a:1"),
        deployable("p", schema="wide", champion="a:1"),
        deployable("p", routes=(route("a", champion="a:1"),)),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert deployable("p", champion="a:1").digest == plans[0].digest


def test_a_plan_is_read_back() -> None:
    plan = deployable("p", extractor=EWM, champion="a:1", canary="b:1").plan
    assert Plan.decode(plan.encode()).digest == plan.digest


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xa1\xff", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff"])
def test_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidPlan, match="not a plan"):
        Plan.decode(body)


def test_another_version_is_refused() -> None:
    plan = msgspec.structs.replace(deployable("p").plan, v=3)
    with pytest.raises(InvalidPlan, match="version 3"):
        Plan.decode(plan.encode())


class TrainedElsewhere(Catalogue):
    """Models whose features had the right names and came from another extractor."""

    def model(self, ref: str) -> Artifact:
        artifact = super().model(ref)
        lineage = msgspec.structs.replace(artifact.manifest.lineage, extractor="identity:1:000000000000")
        return msgspec.structs.replace(artifact, manifest=msgspec.structs.replace(artifact.manifest, lineage=lineage))


def test_a_model_is_refused_under_other_settings_than_it_was_trained_with() -> None:
    file = PlanFile("pumps", "pumps", ("identity",), champion="a:1")
    with pytest.raises(InvalidPlan, match="was trained on features of extractor identity:1:000000000000"):
        resolve(file, TrainedElsewhere(FIELDS))
