"""Plans: from a person's YAML to what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidPlan, Rejected, UnknownName
from swapstream.models.manifest import Structure
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.plan import Plan, Require
from swapstream.operators.plan_file import DevicesFile, PlanFile, RouteFile, load_plan_file, resolve
from swapstream.operators.retention import Retention
from tests.support.shards import EWM, FIELDS, SCHEMAS, Catalogue, deployable, model, route

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
        (YAML + "require: {max_alarm_rate: 1.5}", "max_alarm_rate"),
        (YAML + "require: {max_alarms: 1}", "max_alarms"),
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
        (PlanFile("p", "pumps", on_error="a:1"), "need a champion"),
        (PlanFile("p", "pumps", champion="a:1", on_error="a:1"), "on_error is a:1, the champion"),
        (PlanFile("p", "pumps", tags={"t": ()}), "tag 't' is \\[\\]; a tag has a name, and patterns"),
        (PlanFile("p", "pumps", tags={"": ("a",)}), "a tag has a name"),
        (PlanFile("p", "pumps", tags={"t": ("a", "")}), "a tag has a name"),
        (PlanFile("p", "pumps", tags={"t": ("a",)}, routes=(RouteFile(tag="s", champion="a:1"),)),
         "devices '\\*' with tag 's': the plan's tags are t"),
        (PlanFile("p", "pumps", champion="a:1", challengers=("b:1", "b:1")), "stands there twice"),
        (PlanFile("p", "pumps", champion="a:1", threshold=float("nan")), "finite"),
        (PlanFile("p", "pumps", champion="a:1", routes=(RouteFile("*"),)), "twice"),
        (PlanFile("p", "pumps", extractor=("nonsense",)), "nonsense"),
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
        deployable("p", routes=(route("a", type="pumps", champion="a:1"),)),
        deployable("p", champion="a:1", devices=DevicesFile(max=5)),
        deployable("p", champion="a:1", devices=DevicesFile(evict_after="1d")),
        deployable("p", schema=("pumps", "fans"), routes=(route(type="pumps", champion="a:1"),)),
        deployable("p", champion="a:1", on_error="a:2"),
        deployable("p", tags={"t": ("a",)}, routes=(route(tag="t", champion="a:1"),)),
        deployable("p", tags={"t": ("b",)}, routes=(route(tag="t", champion="a:1"),)),
        deployable("p", champion="a:1", require=Require(max_alarm_rate=0.01)),
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
    plan = msgspec.structs.replace(deployable("p").plan, v=5)
    with pytest.raises(InvalidPlan, match="version 5: this release reads versions 1 to 4"):
        Plan.decode(plan.encode())


# -- several schemas

SEVERAL = ("pumps", "fans", "belts")
OF = {"f:1": "fans", "f:2": "fans", "b:1": "belts"}


def several(**roles: Any) -> Plan:
    return deployable("p", schema=SEVERAL, of=OF, **roles).plan


def test_a_plan_of_several_schemas_reads_them_all(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("""
name: machines
schema: [pumps, fans]
extractor: {fans: [identity, differences], pumps: [identity]}
routes:
  - {type: fans, devices: "fan-1*", champion: f:1, threshold: 3}
champion: a:1
devices: {max: 500, evict_after: 12h}
""")
    fans = Composite.parse(["identity", "differences"], ("speed",)).features
    file = load_plan_file(path)
    with pytest.raises(Rejected, match=r"devices '\*': a:1: features: .*; give the route a type, or each type a route$"):
        resolve(file, Catalogue(FIELDS, {"f:1": fans}))
    typed = msgspec.structs.replace(file, routes=(*file.routes, RouteFile(type="pumps", champion="a:1")), champion=None)
    plan = resolve(typed, Catalogue(FIELDS, {"f:1": fans}))
    assert [(part.schema.name, part.extractor) for part in plan.inputs] == [
        ("pumps", ("identity",)), ("fans", ("identity", "differences"))]
    assert [(one.type, one.devices) for one in plan.routes] == [("fans", "fan-1*"), ("pumps", "*")]
    assert plan.devices == Retention(500, 12 * 3_600_000)
    assert Plan.decode(plan.encode()) == plan


def test_one_extractor_can_be_for_all() -> None:
    plan = several(extractor=("identity", "differences"))
    assert [(part.schema.name, part.extractor) for part in plan.inputs] == [(name, ("identity", "differences")) for name in SEVERAL]


def test_roles_at_the_top_are_for_what_no_route_took() -> None:
    routes = (route(type="fans", champion="f:1"), route(type="belts", champion="b:1"))
    plan = several(routes=routes, champion="a:1")
    assert [(one.type, one.champion and one.champion.name) for one in plan.routes] == [
        ("fans", "f:1"), ("belts", "b:1"), ("", "a:1")]


def test_one_model_can_be_for_several_types_with_the_same_features() -> None:
    plan = several(routes=(route(type="fans"),), champion="a:1")
    assert plan.routes[-1].champion is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": ()}, "0 schemas; 1 to 64"),
        ({"schema": ("pumps", "pumps")}, "2 schemas of name 'pumps'"),
        ({"schema": ("pumps", "wide")}, "2 schemas of type ''; each needs one of its own, only one may have none"),
        ({"schema": ("fans", "fans-2")}, "2 schemas of type 'fan'"),
        ({"schema": ("fans", "json")}, "codec json and msgpack; all must have the same"),
        ({"schema": ("fans", "other")}, "type_key class and kind"),
        ({"extractor": {"pumps": ("identity",)}}, "'belts' must be in both or in none"),
        ({"extractor": dict.fromkeys((*SEVERAL, "valves"), ("identity",))}, "'valves' must be in both or in none"),
        ({"routes": (RouteFile(type="valves", champion="a:1"),)}, "of type 'valves': the plan's schemas are pumps, fans, belts"),
        ({"routes": (RouteFile(type="fans"), RouteFile(type="fans"))}, "of type 'fans': never taken"),
        ({"routes": (RouteFile(), RouteFile(type="fans"))}, "of type 'fans': never taken"),
        ({"devices": DevicesFile(evict_after="a while")}, "evict_after 'a while' is no duration; allowed is"),
    ],
)
def test_what_several_schemas_can_not_be_is_refused(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fans = SCHEMAS["fans"]
    monkeypatch.setitem(SCHEMAS, "json", msgspec.structs.replace(fans, name="json", type="json", codec="json"))
    monkeypatch.setitem(SCHEMAS, "other", msgspec.structs.replace(fans, name="other", type_key="class", type="other"))
    file = msgspec.structs.replace(PlanFile("p", SEVERAL), **changes)
    with pytest.raises(InvalidPlan, match=message):
        resolve(file, Catalogue(FIELDS))


class TrainedElsewhere(Catalogue):
    """Models whose features had the right names and came from another extractor."""

    def model(self, ref: str) -> Artifact:
        artifact = super().model(ref)
        lineage = msgspec.structs.replace(artifact.manifest.lineage, extractor="identity:1:000000000000")
        return msgspec.structs.replace(artifact, manifest=msgspec.structs.replace(artifact.manifest, lineage=lineage))


class OfWindows(Catalogue):
    """Models that read windows of two readings."""

    def model(self, ref: str) -> Artifact:
        artifact = super().model(ref)
        return msgspec.structs.replace(artifact, manifest=msgspec.structs.replace(artifact.manifest, structure=Structure((2, 1)), v=2))


@pytest.mark.parametrize(("changes", "catalogue", "line"), [
    ({"extractor": ("differences",)}, Catalogue,
     r"a:1: features: \[temperature, pressure\]; extractor differences gives \[temperature\.difference, pressure\.difference\]$"),
    ({}, OfWindows, r"a:1: shape: windows of \[2, 1\]; extractor identity gives none$"),
    ({}, TrainedElsewhere, "a:1: extractor: was trained on features of extractor identity:1:0{12}; extractor identity is identity:1:"),
    ({"schema": SEVERAL}, Catalogue, "a:1: features: .* of schema '.*' gives .*; give the route a type, or each type a route$"),
    ({"schema": SEVERAL, "champion": None, "routes": (RouteFile(type="fans", champion="a:1"),)}, Catalogue, "a:1: features: "),
])  # fmt: skip
def test_a_model_that_does_not_read_what_the_extractor_gives_is_rejected(
    changes: dict[str, Any], catalogue: type[Catalogue], line: str
) -> None:
    file = msgspec.structs.replace(PlanFile("p", "pumps", champion="a:1"), **changes)
    with pytest.raises(Rejected, match=f"^plan 'p', devices '\\*'.*: {line}"):
        resolve(file, catalogue(FIELDS))


# -- tags, who answers on errors, what is required


def test_a_plan_names_tags_who_answers_and_what_is_required(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("""
name: pumps
schema: pumps
tags: {critical: ["pump-7", "pump-9*"]}
routes:
  - {tag: critical, champion: a:2, on_error: a:1}
champion: a:1
on_error: b:1
require: {min_average_precision: 0.5, max_alarm_rate: 0.01, max_alarm_rate_ratio: 2}
""")
    plan = resolve(load_plan_file(path), Catalogue(FIELDS))
    critical, rest = plan.routes
    assert (critical.tag, critical.takes_all, rest.tag, rest.takes_all) == ("critical", False, "", True)
    assert [[(role, pin.name) for role, pin in one.roles()] for one in plan.routes] == [
        [("champion", "a:2"), ("on_error", "a:1")], [("champion", "a:1"), ("on_error", "b:1")]]
    assert plan.tags == {"critical": ("pump-7", "pump-9*")}
    assert plan.require == Require(0.5, 0.01, 2.0)
    assert {pin.name for pin in plan.models()} == {"a:1", "a:2", "b:1"}
    assert Plan.decode(plan.encode()) == plan


def test_the_plan_of_the_readme_is_one() -> None:
    page = (Path(__file__).parents[3] / "operators" / "README.md").read_text()
    text = page.partition("## The plan")[2].partition("```yaml")[2].partition("```")[0]
    file = msgspec.convert(msgspec.yaml.decode(text), PlanFile)
    assert [one.takes_all for one in file.every_route()] == [True, False, False, True]
    assert file.require.max_alarm_rate_ratio == 2


def test_a_plan_that_needs_nothing_new_keeps_the_digest_that_it_had() -> None:
    plan = deployable("p", champion="a:1").plan
    assert plan.v == 2
    assert "on_error" not in msgspec.msgpack.decode(plan.encode())["routes"][0]
    assert deployable("p", champion="a:1", on_error="b:1").plan.v == 3
    assert deployable("p", champion="a:1", decoy=True).plan.v == 4


def test_a_tag_that_no_plan_has_is_refused_when_it_is_read() -> None:
    plan = deployable("p", tags={"t": ("a",)}, routes=(route(tag="t", champion="a:1"),)).plan
    with pytest.raises(InvalidPlan, match="tag 't' of a route is none of the plan's"):
        Plan.decode(msgspec.structs.replace(plan, tags={}).encode())
