"""Users' code on the command line: put to the test, trained with, published, sent along, kept, and found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import Conflict, InvalidSettings, Rejected, Unavailable, UnknownName
from swapstream.models.store import Store
from swapstream.operators.code import Archive, find, read
from swapstream.operators.lookup import missing
from swapstream.operators.statement import decode_definition
from swapstream.scripts import flink_cli
from swapstream.scripts.catalogue import read_plan
from swapstream.scripts.code import archives_of, look_into, ship, shipped, without_code
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.doctor import code_findings
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.main import cli
from swapstream.scripts.publish import Author, publish_plan
from tests.support.topics import Topics
from tests.unit.operators.test_own_plans import ONE, SOURCE, archive, forget

ME = Author("me", "a test")


@pytest.fixture(autouse=True)
def _as_new() -> Iterator[None]:
    yield
    forget()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment, a schema, a file of readings, an extractor and a plan that names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.yaml").write_text(f"directory: {tmp_path}/run\n")
    (tmp_path / "pump.yaml").write_text("name: pump\nfields: [t, p]\n")
    (tmp_path / "pump.csv").write_text("\n".join(["time,device,t,p", *(f"{i},d{i % 2},{i}.5,{i % 5}" for i in range(60))]))
    (tmp_path / "scaling.py").write_bytes(ONE.files["scaling.py"])
    (tmp_path / "plan.yaml").write_text('{name: own, schema: pump.yaml, code: [scaling.py], extractor: ["scaling:Times"]}')
    return tmp_path


@pytest.fixture
def environment(folder: Path) -> Environment:
    return load_environment(str(folder / "env.yaml"))


def called(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--env", "env.yaml", *arguments], catch_exceptions=False)


def rows(*arguments: str) -> list[dict[str, Any]]:
    found = called(*arguments, "--json")
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


# -- extractors list, extractors check


def test_the_built_in_ones_are_listed_with_their_settings(folder: Path) -> None:
    found = {row["extractor"]: row for row in rows("extractors", "list")}
    assert found["ewm"]["settings"] == {"halflife": 20.0, "warmup": None, "statistics": ["mean", "deviation"]}
    assert {row["code"] for row in found.values()} == {None}


def test_those_of_a_file_and_of_a_plan_are_listed_with_the_digest_of_their_code(folder: Path) -> None:
    (row,) = rows("extractors", "list", "--code", "scaling.py")
    assert row == {"extractor": "scaling:Times", "name": "times", "version": 1, "state": 1, "code": ONE.digest, "settings": {"factor": 2.0}}
    (row,) = rows("extractors", "list", "--plan", "plan.yaml")
    assert (row["code"], row["settings"]) == (ONE.digest, {})
    assert "scaling:Times" in called("extractors", "list", "--plan", "plan.yaml").stdout
    with pytest.raises(InvalidSettings, match="leave out --code"):
        called("extractors", "list", "--plan", "plan.yaml", "--code", "scaling.py")


def test_an_extractor_that_keeps_the_contract_passes_every_check(folder: Path) -> None:
    found = rows("extractors", "check", "scaling.py", "--extractor", "scaling:Times(factor=3)", "--fields", "x")
    assert [row["check"] for row in found] == ["features", "warming", "frames", "run", "devices", "state", "forgotten", "absurd"]
    assert all(row["ok"] and row["extractor"] == "times:1" for row in found)


BROKEN = {
    "features": "return values, count[:, 0] < 2, {'count': count * np.nan} if count[0, 0] > 9 else 1 / 0",
    "warming": "return values, count[:, 0] > 5, {'count': count}",
    "frames": "return values + values.sum(axis=0), count[:, 0] < 2, {'count': count}",
    "absurd": "return np.where(count > 1e100, np.nan, values), count[:, 0] < 2, "
    "{'count': count + np.where(np.abs(values[:, :1]) > 1e100, 1e200, 0)}",
}


@pytest.mark.parametrize("check", BROKEN)
def test_one_that_does_not_is_refused_by_the_check_that_finds_it(folder: Path, check: str) -> None:
    text = SOURCE.format(version=1).partition("        return values * self.factor")[0] + "        " + BROKEN[check]
    (folder / "scaling.py").write_text(text)
    with pytest.raises(Rejected, match=f"extractor 'times': {check}: "):
        called("extractors", "check", "scaling.py")


def test_the_state_of_an_older_version_is_part_of_the_check(folder: Path) -> None:
    (folder / "later").mkdir()
    later = SOURCE.format(version=2).replace("VERSION = 2", "VERSION = 2\n    SCHEMA_VERSION = 2")
    (folder / "later" / "scaling.py").write_text(later)
    with pytest.raises(Rejected, match="times': migrate: state of schema version 1 can't be read, only 2"):
        called("extractors", "check", "later/scaling.py", "--before", "scaling.py")
    migrate = "\n    def migrate(self, version, columns):\n        return {'count': columns['count']}"
    (folder / "later" / "scaling.py").write_text(later + migrate)
    assert rows("extractors", "check", "later/scaling.py", "--before", "scaling.py")[-1]["value"] == "from schema version 1 to 2"


def test_a_file_without_extractors_is_told_so(folder: Path) -> None:
    (folder / "empty.py").write_text("x = 1")
    with pytest.raises(UnknownName, match=r"code 'empty\.py' has no extractor"):
        called("extractors", "check", "empty.py")
    with pytest.raises(UnknownName, match=r"code 'empty\.py' has no extractor 'times'; there are none"):
        called("extractors", "check", "scaling.py", "--before", "empty.py")


# -- train, plan, try


def test_a_model_is_trained_with_it_and_says_so(folder: Path, environment: Environment) -> None:
    shared = ("--name", "own", "--hold-out", "0")
    for given in (("--plan", "plan.yaml"), ("--schema", "pump.yaml", "--code", "scaling.py", "--extractor", "scaling:Times")):
        rows("train", "zscore", "pump.csv", *shared, *given)
    first, second = (Store(environment.store).get(f"own:{version}") for version in (1, 2))
    assert first.manifest.features == ("t.times", "p.times")
    assert str(first.manifest.lineage.extractor).startswith("times:1:")
    assert first.manifest.lineage.extractor == second.manifest.lineage.extractor
    with pytest.raises(InvalidSettings, match="leave out --extractor and --code"):
        called("train", "zscore", "pump.csv", *shared, "--plan", "plan.yaml", "--code", "scaling.py")


def test_a_model_of_other_code_does_not_fit(folder: Path, environment: Environment) -> None:
    rows("train", "zscore", "pump.csv", "--name", "own", "--hold-out", "0", "--plan", "plan.yaml")
    text = (folder / "plan.yaml").read_text().replace("}", ", champion: 'own:1'}")
    (folder / "plan.yaml").write_text(text)
    assert rows("plan", "check", "plan.yaml")[0]["verdict"] == "can be deployed"
    assert rows("try", "plan.yaml", "pump.csv")[0]["records"] == 60
    (folder / "scaling.py").write_bytes(archive(2).files["scaling.py"])
    with pytest.raises(Rejected, match=r"own:1: extractor: was trained on features of extractor times:1:.* is times:2:"):
        called("plan", "check", "plan.yaml")


def test_a_plan_shows_which_code_it_names(folder: Path) -> None:
    (row,) = rows("plan", "show", "plan.yaml")
    assert row["extractor.0"] == f"scaling:Times@{ONE.digest}"


# -- published, sent along, found again


def test_what_is_published_says_which_code_and_the_store_has_it(environment: Environment, topics: Topics) -> None:
    plan, definitions = publish_plan(environment, "prod", "plan.yaml", ME)
    said = [decode_definition(record.value or b"") for record in topics.records[environment.topics.parameters.name]]
    assert [(one.kind, one.name, one.who, one.why) for one in said] == [
        ("schema", "pump", "me", "a test"), ("extractor", "times:1", "me", "a test"), ("plan", "own", "me", "a test")]
    assert missing(definitions, "prod", plan.digest) is None
    forget()
    with pytest.raises(Unavailable):
        archives_of(plan)
    assert list(without_code(definitions, "prod")) == [
        f"extractor times:1: code {ONE.digest[:12]}…: is not here; a job runs code that it was submitted with"]
    look_into(environment)
    assert archives_of(plan) == [ONE]
    assert list(without_code(definitions, "prod")) == []


def test_other_code_under_the_same_version_is_refused_with_nothing_written(environment: Environment, topics: Topics) -> None:
    publish_plan(environment, "prod", "plan.yaml", ME)
    Path("scaling.py").write_bytes(archive(1, "\n# a remark").files["scaling.py"])
    with pytest.raises(Conflict, match=r"extractor 'times:1' is defined already .*: its code changed, so must its VERSION"):
        publish_plan(environment, "prod", "plan.yaml", ME)
    assert len(topics.records[environment.topics.parameters.name]) == 3
    Path("scaling.py").write_bytes(archive(2).files["scaling.py"])
    publish_plan(environment, "prod", "plan.yaml", ME)


def test_what_is_sent_along_lies_in_a_file_of_its_own_and_in_the_store(environment: Environment) -> None:
    _, plan = read_plan(environment, "plan.yaml")
    for _ in range(2):
        ship(environment, plan.code)
    (uri,) = shipped(environment, plan.code)
    assert uri == (environment.jobs / "code" / ONE.name).as_uri()
    stored = Path(environment.store) / "code" / ONE.name
    assert Archive.decode(stored.read_bytes()) == ONE
    assert stored.read_bytes() == (environment.jobs / "code" / ONE.name).read_bytes()
    assert sorted(path.name for path in (environment.jobs / "code").iterdir()) == [ONE.name]


def test_code_that_is_nowhere_is_not_sent(environment: Environment) -> None:
    with pytest.raises(Unavailable, match="code 000000000000…: is not here"):
        ship(environment, ["0" * 64])


def test_a_store_with_other_bytes_is_told(environment: Environment) -> None:
    _, plan = read_plan(environment, "plan.yaml")
    ship(environment, plan.code)
    (Path(environment.store) / "code" / ONE.name).write_bytes(archive(2).encode())
    forget()
    look_into(environment)
    with pytest.raises(Unavailable, match="digest: what is here has"):
        find(plan.code[0])


def test_flink_is_told_to_send_what_the_specification_names(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "flink-sql-connector-kafka-1.jar").touch()
    monkeypatch.setattr(flink_cli, "JARS", tmp_path / "jars")
    spec = JobSpec("detect", "prod", "own", "", 0, "", {}, 1, {0: 0}, code=(ONE.digest,))
    spec.write(tmp_path / "spec.json")
    flink, uri = FlinkCommandLine(environment), (environment.jobs / "code" / ONE.name).as_uri()
    arguments = flink.arguments("detect", tmp_path / "spec.json", 1, "ab")
    assert arguments[arguments.index("-pyfs") + 1] == uri
    arguments = flink.arguments("detect", tmp_path / "none.json", 1, "ab", code=[ONE.digest, "0" * 64])
    assert arguments[arguments.index("-pyfs") + 1].split(",")[0] == uri
    assert "-pyfs" not in flink.arguments("detect", tmp_path / "none.json", 1, "ab")


def test_a_dry_run_names_the_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "jars").mkdir()
    (folder / "jars" / "flink-sql-connector-kafka-1.jar").touch()
    monkeypatch.setattr(flink_cli, "JARS", folder / "jars")
    (folder / "more.py").write_text(SOURCE.format(version=1).replace("times", "more"))
    line = called("submit", "detect", "--plan", "plan.yaml", "--code", "more.py", "--dry-run").stdout
    assert ONE.name in line
    assert read(folder / "more.py").name in line
    assert not (folder / "run" / "jobs" / "code").exists()


def test_the_doctor_misses_code_that_is_gone(environment: Environment) -> None:
    assert code_findings(environment) == []
    _, plan = read_plan(environment, "plan.yaml")
    ship(environment, plan.code)
    deployments = Deployments(environment)
    deployments.save(Deployment("prod", "own", "detect", 1))
    JobSpec("detect", "prod", "own", "", 0, "", {}, 1, {0: 0}, code=plan.code).write(deployments.spec("own"))
    assert [one.state for one in code_findings(environment)] == ["ok"]
    (environment.jobs / "code" / ONE.name).unlink()
    (Path(environment.store) / "code" / ONE.name).unlink()
    first, second = code_findings(environment)
    assert (first.state, second.state) == ("wrong", "wrong")
    assert "prod.own: " in first.says
    assert f"has no code/{ONE.name}, which verify needs" in second.says
