"""`swapstream plan check | show | diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from swapstream.models.errors import Rejected, UnknownName
from swapstream.models.store import Store
from swapstream.scripts.environment import load_environment
from swapstream.scripts.plan import flat, plan_command
from tests.support.shards import EWM, FIELDS, deployable, model, route


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "env.yaml").write_text(f"directory: {tmp_path}")
    (tmp_path / "pumps.yaml").write_text("{name: pumps, fields: [temperature, pressure]}")
    (tmp_path / "before.yaml").write_text("{name: p, schema: pumps.yaml, champion: 'a:1'}")
    (tmp_path / "after.yaml").write_text("{name: p, schema: pumps.yaml, champion: 'b:1', canary: 'a:1', threshold: 2}")
    store = Store(load_environment(str(tmp_path / "env.yaml")).store)
    for ref in ("a:1", "b:1"):
        store.put(model(ref, FIELDS))
    return tmp_path


def run(folder: Path, *arguments: str) -> Any:
    """What the command prints with --json."""
    paths = [str(folder / a) if a.endswith(".yaml") else a for a in arguments]
    result = CliRunner().invoke(plan_command, [*paths, "--json"], obj=str(folder / "env.yaml"), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_plan_that_can_be_deployed_is_said_to_be(folder: Path) -> None:
    (row,) = run(folder, "check", "before.yaml")
    assert (row["plan"], row["models"], row["verdict"]) == ("p", 1, "can be deployed")


def test_show_pins_every_name(folder: Path) -> None:
    (row,) = run(folder, "show", "before.yaml")
    assert row["*: champion"] == f"a:1@{model('a:1', FIELDS).digest[:12]}"
    assert row["schema"].startswith("pumps@")


def test_diff_shows_what_a_swap_would_change_and_nothing_else(folder: Path) -> None:
    rows = {row["part"]: (row["before"], row["after"]) for row in run(folder, "diff", "before.yaml", "after.yaml")}
    assert set(rows) == {"digest", "*: champion", "*: canary", "*: threshold"}
    assert rows["*: threshold"] == (None, 2.0)
    assert run(folder, "diff", "before.yaml", "before.yaml") == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{name: p, schema: pumps.yaml, champion: 'z:1'}", UnknownName),
        ("{name: p, schema: none, champion: 'a:1'}", UnknownName),
        ("{name: p, schema: pumps.yaml, extractor: [differences], champion: 'a:1'}", Rejected),
    ],
)
def test_a_plan_that_can_not_be_deployed_is_refused(folder: Path, text: str, error: type[Exception]) -> None:
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(error):
        run(folder, "check", "bad.yaml")


def test_each_schema_has_its_parts() -> None:
    plan = deployable(
        "p", schema=("pumps", "fans"), of={"f:1": "fans"}, routes=(route(type="fans", champion="f:1"),), champion="a:1"
    ).plan
    assert [part for part in flat(plan) if part not in ("name", "digest")] == [
        "schema of pumps",
        "extractor of pumps.0",
        "schema of fans",
        "extractor of fans.0",
        "fans/*: champion",
        "*: champion",
        "devices.max",
        "devices.evict_after",
    ]


def test_every_part_has_a_name_of_its_own() -> None:
    plan = deployable(
        "p",
        extractor=("identity", *EWM),
        routes=(route("fan", champion="a:1", challengers=("b:1", "c:1"), threshold=1.0),),
        champion="a:1",
    ).plan
    assert [part for part in flat(plan) if part.startswith(("fan", "*", "extractor"))] == [
        "extractor.0",
        "extractor.1",
        "fan: champion",
        "fan: challenger.1",
        "fan: challenger.2",
        "fan: threshold",
        "*: champion",
    ]
