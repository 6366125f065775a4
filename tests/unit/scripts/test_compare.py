"""`compare` and `backfill` over a broker in memory: what labels count, and what is refused before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.jobs.spec import JobSpec
from swapstream.models import objects
from swapstream.models.errors import Conflict, InvalidSettings, Unavailable
from swapstream.models.store import Store
from swapstream.operators.labels import DeviceSpan, Label, RecordId
from swapstream.scripts import backfill, exports
from swapstream.scripts.backfill import require_all
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.main import cli
from tests.support.broker import Broker
from tests.support.shards import FIELDS, NAMESPACE, TOPIC, Parameters, deployable, model, reading

COUNT, FIRST = 200, 40
"""Readings of a partition, and the offset of the first that is left where retention has deleted some."""


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Telemetry of two partitions, and two plans with models of their own."""
    (tmp_path / "here.yaml").write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", str(tmp_path / "here.yaml"))
    monkeypatch.setattr(objects, "default_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    Path("pumps.yaml").write_bytes(msgspec.yaml.encode({"fields": list(FIELDS)}))
    for name in ("a", "b"):
        Store(load_environment().store).put(model(f"{name}:1", FIELDS))
        plan = {"name": "pumps", "schema": "pumps.yaml", "extractor": ["identity"], "champion": f"{name}:1"}
        Path(f"{name}.yaml").write_bytes(msgspec.yaml.encode(plan))
    found, rng = Broker(monkeypatch), np.random.default_rng(0)
    for n in range(2 * COUNT):
        found.append(TOPIC, reading(f"pump-{n % 2}", rng.normal(size=2).tolist(), 1_000 + n), partition=n % 2)
    return found


def run(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if done.exception:
        raise done.exception
    return [json.loads(line) for line in done.stdout.splitlines()]


def label(broker: Broker, *labels: Label) -> None:
    for one in labels:
        broker.append("labels", one.encode())


def test_labels_of_records_that_are_not_there_count_nothing(broker: Broker) -> None:
    unknown = (Label(RecordId(TOPIC, 0, 10**9)), Label(RecordId(TOPIC, 7, 0)), Label(RecordId("another", 0, 5)),
               Label(RecordId(TOPIC, 0, 5, 3)), Label(DeviceSpan("nobody", 0, 2**60)))  # fmt: skip
    plain = run("compare", "a.yaml", "b.yaml", "--json")
    label(broker, *unknown)
    assert without_time(run("compare", "a.yaml", "b.yaml", "--json")) == without_time(plain)
    assert "precision" not in plain[0]

    label(broker, *(Label(RecordId(TOPIC, 0, n), n % 5 == 0) for n in range(COUNT)))
    one, other, _ = both = run("compare", "a.yaml", "b.yaml", "--json")
    assert one["precision"] != other["precision"]
    label(broker, *unknown)
    assert without_time(run("compare", "a.yaml", "b.yaml", "--json")) == without_time(both)


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


@pytest.mark.parametrize("arguments", [("compare", "a.yaml", "b.yaml"), ("backfill", "--plan", "a.yaml")])
def test_a_span_that_retention_has_deleted_is_refused(broker: Broker, arguments: tuple[str, ...]) -> None:
    broker.delete_before(TOPIC, FIRST)
    said = f"telemetry: retention has deleted a part of the span; the earliest offset that is left is {FIRST} in partition 0"
    with pytest.raises(InvalidSettings, match=said):
        run(*arguments, "--from", str(FIRST - 1), "--json")
    assert not [path for path in Path().rglob("*") if path.name.startswith("backfill-")]


@pytest.mark.parametrize(("plan", "kind", "said"), [
    ("a.yaml", Conflict, "out is there already; allowed is a directory that is empty or not there"),
    ("archive.yaml", InvalidSettings, "--out takes scores, and plan 'archive' has no champion; its features go to a topic, without --out"),
])  # fmt: skip
def test_what_can_not_be_written_is_said_before_a_backfill(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, plan: str, kind: type[Exception], said: str
) -> None:
    monkeypatch.setattr(backfill, "of_its_own", lambda environment, name: environment)
    monkeypatch.setattr(backfill.Backfill, "run", lambda *_: pytest.fail("it was begun"))
    Path("archive.yaml").write_bytes(msgspec.yaml.encode({"name": "archive", "schema": "pumps.yaml"}))
    Path("out").mkdir()
    Path("out", "mine").write_text("mine")
    with pytest.raises(kind, match=said):
        run("backfill", "--plan", plan, "--out", "out", "--json")


def test_what_is_left_is_compared(broker: Broker) -> None:
    broker.delete_before(TOPIC, FIRST)
    assert run("compare", "a.yaml", "b.yaml", "--from", str(FIRST), "--json")[-1]["records"] == 2 * (COUNT - FIRST)
    assert run("compare", "a.yaml", "b.yaml", "--json")[-1]["records"] == 2 * COUNT - FIRST


def test_a_store_that_went_away_ends_a_backfill(broker: Broker) -> None:
    plan = deployable("large", champion="a:1")
    parameters, environment = Parameters(), load_environment()
    parameters.refer(plan)
    for value in parameters.records:
        broker.append("parameters", value)
    told = JobSpec("detect", NAMESPACE, "large", plan.digest, 0, "", {}, 1, {})
    folder = Path("store", "objects")
    assert (folder / model("a:1", FIELDS).digest).is_file()
    shutil.move(folder, "gone")
    with pytest.raises(Unavailable, match=r"store: .*store/objects/"):
        require_all(environment, told)
    shutil.move("gone", folder)
    require_all(environment, told)


def test_what_is_answered_stays_where_files_can_not_be_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device", "out")

    removed: list[Any] = []
    monkeypatch.setattr(backfill, "write_answers", full)
    monkeypatch.setattr(backfill, "remove_topics", removed.append)
    with pytest.raises(OSError, match="No space left"):
        backfill.written(Environment(), "backfill-a", exports.Writer(Path("out")))
    assert not removed
    assert capsys.readouterr().err == "the scores stay in topic scores\n"
    monkeypatch.setattr(backfill, "write_answers", lambda *_: 3)
    assert backfill.written(Environment(), "backfill-a", exports.Writer(Path("out"))) == 3
    assert removed == [Environment()]
