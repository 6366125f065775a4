"""`models diff`, `models history` and `models gc`, over topics in memory."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.jobs.spec import JobSpec
from swapstream.models import Store, train
from swapstream.models.artifact import Artifact
from swapstream.models.errors import ClusterError, InvalidSettings, UnknownName
from swapstream.models.manifest import Lineage
from swapstream.models.store import where
from swapstream.operators.assignment import Upgrade
from swapstream.operators.labels import Label, Labels, RecordId
from swapstream.operators.ledger import LedgerRow
from swapstream.operators.scores import decode_scores
from swapstream.scripts import model_life, references
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import load_environment
from swapstream.scripts.main import cli
from swapstream.scripts.metrics import quality
from swapstream.scripts.model_life import Scored, scored
from tests.support.broker import Broker
from tests.support.past import Past
from tests.support.shards import DEPLOYMENT, EWM, NAMESPACE, TOPIC, deployable, model, reading

FIRST = deployable("first", extractor=EWM, champion="b:1")
SECOND = deployable("second", extractor=EWM, champion="b:2", challengers=("b:1", "c:1"))
THIRD = deployable("third", extractor=EWM, champion="c:1")
LINEAGE = Lineage("Ada", "2026-01-01T00:00:00+00:00", "test")


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.chdir(tmp_path)
    Path("here.yaml").write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", "here.yaml")
    return Broker(monkeypatch)


def store() -> Store:
    return Store(load_environment("here.yaml").store)


def run(*arguments: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(cli, ["models", *arguments, "--json"], standalone_mode=False)
    if done.exception:
        raise done.exception
    return [json.loads(line) for line in done.stdout.splitlines()]


def lived() -> Past:
    """40 readings under each of three plans."""
    past = Past(FIRST, SECOND, THIRD)
    for plan in (FIRST, SECOND, THIRD):
        past.swap(plan)
        past.readings(40)
    past.live()
    return past


def rows_of(past: Past, version: str, role: str) -> list[dict[str, Any]]:
    frames = (decode_scores(one.value) for one in past.emissions if one.role == "scores")
    return [row for frame in frames for row in frame.rows() if (row["model"], row["role"]) == (version, role)]


# -- history


def test_where_versions_were_and_how_they_scored(broker: Broker) -> None:
    past = lived()
    broker.live(past)
    for one in (*FIRST.models, *SECOND.models):
        store().put(one)
    marked = [row for row in rows_of(past, "b:2", "champion") if row["anomalous"]][::2]
    missed = [row for row in rows_of(past, "b:2", "champion") if not row["anomalous"]]
    assert missed
    for row in (*marked, *missed):
        broker.append("labels", Label(RecordId(TOPIC, 0, row["offset"], row["index"])).encode())
    found = {(row["model"], row["role"]): row for row in run("history", "b")}
    assert set(found) == {("b:1", "champion"), ("b:1", "challenger"), ("b:2", "champion")}
    for (version, role), row in found.items():
        said = rows_of(past, version, role)
        scores = np.array([one["score"] for one in said])
        alarms = [one for one in said if one["score"] > one["threshold"] and not one["warming"]]
        assert (row["records"], row["alarms"], row["errors"]) == (len(said), len(alarms), 0)
        assert [row["p50"], row["p95"], row["p99"]] == pytest.approx(np.quantile(scores, [0.5, 0.95, 0.99]).tolist())
    best = found["b:2", "champion"]
    assert (best["labelled"], best["anomalies"]) == (len(marked) + len(missed),) * 2
    assert best["precision"] == len(marked) / best["alarms"]
    assert best["recall"] == len(marked) / (len(marked) + len(missed))
    assert (found["b:1", "champion"]["epochs"], best["epochs"]) == ([1], [2])
    assert found["b:1", "champion"]["to"] == best["from"] < best["to"]
    assert best["by"] == "test"


def test_precision_and_recall_are_those_of_try(broker: Broker) -> None:
    """The same as metrics.quality, which scikit-learn's agree with."""
    past = lived()
    rng = np.random.default_rng(0)
    rows = rows_of(past, "b:2", "champion")
    truth = rng.random(len(rows)) < 0.3
    labels = Labels([Label(RecordId(TOPIC, 0, row["offset"], row["index"]), bool(one)) for row, one in zip(rows, truth, strict=True)])
    frames = [(0, decode_scores(one.value)) for one in past.emissions if one.role == "scores"]
    (found,) = [life for place, life in scored("b:2", frames, labels).items() if place.role == "champion"]
    alarms, scores = np.array([row["anomalous"] for row in rows]), np.array([row["score"] for row in rows])
    wanted = quality([row["device"] for row in rows], truth, alarms, scores, np.ones(len(rows), bool))
    assert (found.precision, found.recall, found.labelled) == (wanted.precision, wanted.recall, len(rows))


def test_the_ledger_says_who_and_why(broker: Broker) -> None:
    broker.live(lived())
    row = LedgerRow("id", NAMESPACE, DEPLOYMENT, "accepted", "w", 5, epoch=2, plan=SECOND.digest, who="Grace", reason="it finds more")
    broker.append("ledger", row.encode())
    broker.append("ledger", b"nonsense")
    found = {(one["model"], one["role"]): one for one in run("history", "b")}
    assert (found["b:2", "champion"]["who"], found["b:2", "champion"]["why"]) == ("Grace", "it finds more")


def test_a_version_that_was_never_deployed(broker: Broker) -> None:
    store().put(model("b:9", ("x",)))
    (row,) = run("history", "b")
    assert (row["model"], row["by"], row.get("deployment")) == ("b:9", "test", None)
    assert run("history", "b", "--deployment", "elsewhere") == []
    with pytest.raises(UnknownName, match="nobody has made or deployed a model 'x'"):
        run("history", "x")


def test_more_scores_than_are_kept_still_have_their_quantiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_life, "KEPT", 1_000)
    life, scores = Scored(), np.random.default_rng(1).normal(size=50_000)
    nothing = np.zeros(500, bool)
    for part in scores.reshape(100, 500):
        life.take(part, nothing, (nothing, nothing), 0, 1)
    assert life.records == 50_000
    assert life.quantiles() == pytest.approx(np.quantile(scores, [0.5, 0.95, 0.99]), abs=0.25)
    assert life.precision is life.recall is None


# -- diff


def test_diff(broker: Broker) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    one = train("zscore", rows, ("a", "b"), name="m", version=1, lineage=LINEAGE)
    two = train("zscore", rows + np.array([1.0, 0.0]), ("a", "b"), name="m", version=2, alarm_rate=0.1,
                lineage=msgspec.structs.replace(LINEAGE, author="Grace", parent="m:1", seed=3))  # fmt: skip
    for made in (one, two):
        store().put(made)
    found = {row["part"]: row for row in run("diff", "m:1", "m:2")}
    assert (found["lineage.author"]["before"], found["lineage.author"]["after"]) == ("Ada", "Grace")
    assert (found["lineage.parent"]["before"], found["lineage.seed"]["after"]) == (None, 3)
    assert found["alarm_rate"]["after"] == 0.1
    assert found["parameter mean"]["after"] == "differs by at most 1"
    assert found["training mean of a"]["after"].startswith(f"{two.manifest.reference.mean[0]:.6g} (")
    assert "parameter deviation" not in found or "e-1" in found["parameter deviation"]["after"]
    assert run("diff", "m:1", "m:1") == []


def test_diff_of_other_features(broker: Broker) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    for version, names in ((1, ("a", "b")), (2, ("b", "c")), (3, ("b", "a"))):
        store().put(train("zscore", rows, names, name="m", version=version, lineage=LINEAGE))
    assert [row for row in run("diff", "m:1", "m:2") if row["part"] == "features"] == [
        {"part": "features", "before": "a", "after": "c"}]
    assert [row["after"] for row in run("diff", "m:1", "m:3") if row["part"] == "features"] == ["b, a"]


# -- gc


def old(*versions: Artifact, days: float = 60) -> None:
    """Put there so long ago."""
    for one in versions:
        store().put(one)
        moment = time.time() - days * 86_400
        os.utime(Path("store") / where(one.digest), (moment, moment))


def made(ref: str) -> Artifact:
    return model(ref, ("temperature.ewm_residual", "pressure.ewm_residual", "temperature.ewm_deviation", "pressure.ewm_deviation"))


def collected(*options: str) -> list[str]:
    return [row["model"] or row["why"] for row in run("gc", *options)]


def left() -> list[str]:
    return [entry.ref for entry in store().list() if (Path("store") / where(entry.digest)).is_file()]


def deployed(broker: Broker, *plans: Any) -> Past:
    past = Past(*plans)
    for plan in plans:
        past.swap(plan)
        past.append(reading())
    past.live()
    broker.live(past)
    return past


def test_what_plans_need_stays(broker: Broker) -> None:
    """In force, and the last two; the newest of each name, and what is young, stay as well."""
    plans = [deployable(f"p{i}", extractor=EWM, champion=f"b:{i}", challengers=(f"c:{i}",)) for i in range(1, 6)]
    old(*(made(f"{name}:{i}") for name in "bc" for i in range(1, 7)))
    old(made("d:1"), made("d:3"))
    old(made("d:2"), days=1)
    deployed(broker, *plans)
    wanted = [f"{name}:{i}" for name in "bc" for i in (1, 2, 3)] + ["d:1"]
    assert collected("--last", "2", "--dry-run") == wanted
    assert len(left()) == 15
    assert collected("--last", "2") == wanted
    assert left() == ["b:4", "b:5", "b:6", "c:4", "c:5", "c:6", "d:2", "d:3"]
    assert collected("--last", "2") == []
    assert collected("--last", "2", "--older-than", "1h") == ["d:2"]


def test_a_rollback_finds_its_model(broker: Broker) -> None:
    """Going back and forth does not count as many plans."""
    first, second = (deployable(f"p{i}", extractor=EWM, champion=f"b:{i}") for i in (1, 2))
    old(*(made(f"b:{i}") for i in (1, 2, 3)))
    deployed(broker, first, second, first, second)
    assert collected("--last", "2") == []
    assert collected("--last", "1") == ["b:1"]


def test_savepoints_and_checkpoints_keep_what_they_need(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [deployable(f"p{i}", extractor=EWM, champion=f"b:{i}") for i in range(1, 5)]
    old(*(made(f"b:{i}") for i in range(1, 6)))
    deployed(broker, *plans)
    environment = load_environment("here.yaml")
    record = Deployment(NAMESPACE, DEPLOYMENT, "detect", 1, job_ids=("j" * 32,))
    Deployments(environment).save(record)
    assert collected("--last", "1", "--dry-run") == ["b:1", "b:2", "b:3"]
    told = SimpleNamespace(id="s-1", plan_digest=plans[0].digest, told=SimpleNamespace(plan="unknown by now"))
    monkeypatch.setattr(references, "shelved", lambda *_: [told])
    assert collected("--last", "1", "--dry-run") == ["b:2", "b:3"]
    path = environment.checkpoints / ("j" * 32) / "chk-7" / "_metadata"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    os.utime(path, (references.BEHIND / 1_000 + 1.001, references.BEHIND / 1_000 + 1.001))  # when epoch 1 was in force
    assert collected("--last", "1", "--dry-run") == []


def test_the_plan_of_an_upgrade_that_is_under_way(broker: Broker) -> None:
    """It was published, and is in no cut yet."""
    first, coming = (deployable(f"p{i}", extractor=EWM, champion=f"b:{i}") for i in (1, 2))
    old(*(made(f"b:{i}") for i in (1, 2, 3)), made("c:1"), made("c:2"))
    past = Past(first, coming)
    past.swap(first)
    past.append(reading())
    past.live()
    broker.live(past)
    environment = load_environment("here.yaml")
    deployments = Deployments(environment)
    deployments.save(Deployment(NAMESPACE, DEPLOYMENT, "detect", 1))
    spec = JobSpec("detect", NAMESPACE, DEPLOYMENT, first.digest, 0, "x", {}, 1, {0: 0}, upgrade=Upgrade("handover", coming.digest, 2))
    spec.write(deployments.spec(DEPLOYMENT, True))
    assert collected("--last", "1") == ["c:1"]


def test_checkpoints_that_lie_elsewhere_keep_every_plan(broker: Broker) -> None:
    plans = [deployable(f"p{i}", extractor=EWM, champion=f"b:{i}") for i in range(1, 4)]
    old(*(made(f"b:{i}") for i in range(1, 5)), made("c:1"), made("c:2"))
    deployed(broker, *plans)
    Path("here.yaml").write_text(f"{{directory: {Path.cwd()}, flink: {{rest: 'http://elsewhere:8081'}}}}")
    assert collected("--last", "1") == ["c:1"]


def test_objects_without_a_name_are_removed_when_they_are_old(broker: Broker) -> None:
    old(made("b:1"), made("b:2"))
    (Path("store/refs/b/2")).unlink()
    young = Path("store/objects") / ("0" * 64)
    young.write_text("half a push")
    assert collected() == ["no name points at it"]
    assert [path.name for path in Path("store/objects").iterdir()].count(young.name) == 1
    assert left() == ["b:1"]


def test_nothing_is_loose_while_a_ref_is_damaged(broker: Broker) -> None:
    old(made("b:1"), made("b:2"))
    Path("store/refs/b/1").write_text("damaged")
    assert collected() == []


def test_a_plan_that_nobody_knows_stops_it(broker: Broker) -> None:
    past = Past(FIRST)
    past.swap(FIRST)
    past.parameters.cut(2, "f" * 64, {0: past.append(reading())})
    broker.live(past)
    old(made("b:1"), made("b:2"))
    with pytest.raises(UnknownName, match=r"nothing can be removed while it is not known what .* needs"):
        run("gc")
    assert left() == ["b:1", "b:2"]


def test_without_a_broker_nothing_is_removed(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    from swapstream.scripts import kafka

    def away(*_: Any, **__: Any) -> Any:
        raise ClusterError("no broker at localhost:9092")

    old(made("b:1"), made("b:2"))
    monkeypatch.setattr(kafka, "consumer", away)
    with pytest.raises(ClusterError):
        run("gc")
    assert left() == ["b:1", "b:2"]
    with pytest.raises(InvalidSettings, match="--older-than: 'soon' is no duration"):
        run("gc", "--older-than", "soon")


# -- list


def test_list_by_name_and_what_is_wrong(broker: Broker) -> None:
    for ref in ("b:1", "b:2", "c:1"):
        store().put(made(ref))
    assert [row["model"] for row in run("list", "b")] == ["b:1", "b:2"]
    Path("store/refs/b/3").write_text("damaged")
    done = CliRunner().invoke(cli, ["models", "list"])
    assert "b:3: damaged: model b:3: its ref" in done.stderr
    assert "c:1" in done.stdout
