"""`train` from exports and from the topic, with a fit of one's own, measured on later rows; and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner
from sklearn.metrics import average_precision_score, precision_score, recall_score

from swapstream.models import Store
from swapstream.models.errors import InvalidArtifact, InvalidSettings, SwapstreamError, UnknownName
from swapstream.models.kinds import scorer
from swapstream.models.schema import load_schema
from swapstream.operators.labels import DeviceSpan, Label
from swapstream.scripts.computed import computed
from swapstream.scripts.environment import load_environment
from swapstream.scripts.main import cli
from swapstream.scripts.making import held_out
from swapstream.scripts.remembered import Remembered
from swapstream.scripts.spans import sections
from swapstream.scripts.training import Rows, input_of
from tests.support.broker import Broker
from tests.support.shards import reading
from tests.unit.models.examples import AUTOENCODER, graph
from tests.unit.scripts.test_export import EWM, deployable, export, lived

N, BAD = 200, 17
FITS = '''
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.cluster import DBSCAN
from sklearn.decomposition import PCA

SEEN = []

def forest(frame):
    SEEN.append(frame)
    return IsolationForest(n_estimators=5, random_state=0).fit(frame[frame.attrs["features"]])

def classifier(frame):
    return LogisticRegression().fit(frame[frame.attrs["features"]], frame.label.fillna(False).astype(bool))

def path(frame):
    return "auto.onnx"

def nothing(frame): pass
def number(frame): return 7.0
def scores(frame): return np.zeros(len(frame))
def unfitted(frame): return IsolationForest()
def wider(frame): return IsolationForest(n_estimators=2).fit(np.zeros((9, 7)))
def clusters(frame): return DBSCAN().fit(frame[frame.attrs["features"]])
def text(frame): return "no such file.onnx"
def odd(frame): return object()
def kind(frame): return IsolationForest
def later(frame): yield forest(frame)
def nonsense(frame): return b"nonsense"
def elsewhere(frame): return IsolationForest(n_estimators=2).fit(np.zeros((9, 2)))
def talks(frame):
    print("fitting")
    return forest(frame)
def ends(frame): raise SystemExit(3)
def fails(frame):
    deep = {}
    return deep["missing"]
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """200 readings of one device, a minute apart, every 17th an anomaly; as a file with labels, and functions to fit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.yaml").write_text(f"directory: {tmp_path}/run\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", "here.yaml")
    (tmp_path / "pumps.yaml").write_text("{name: pumps, fields: [temperature, pressure]}")
    frame()[["time", "device", "temperature", "pressure", "label"]].to_csv("rows.csv", index=False)
    (tmp_path / "fits.py").write_text(FITS)
    (tmp_path / "auto.onnx").write_bytes(graph(AUTOENCODER))
    return tmp_path


def frame() -> pandas.DataFrame:
    rng = np.random.default_rng(3)
    values, bad = rng.normal(size=(N, 2)), np.arange(N) % BAD == 5
    values[bad] += 4
    return pandas.DataFrame({"time": 1_767_225_600 + 60 * np.arange(N), "device": "p-1", "temperature": values[:, 0],
                             "pressure": values[:, 1], "label": bad})  # fmt: skip


def values() -> Any:
    return frame()[["temperature", "pressure"]].to_numpy()


def train(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, ["train", *arguments, "--name", "m", "--json"], standalone_mode=False)
    if done.exception:
        raise done.exception
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    return Store(load_environment("here.yaml").store).get(row["model"])


FILE = ("rows.csv", "--schema", "pumps.yaml")


# -- measured on rows that it was not fitted to


def test_the_last_rows_are_held_out_and_measured_and_then_all_are_fitted_to(folder: Path) -> None:
    model = train("zscore", *FILE, "--alarm-rate", "0.02")
    np.testing.assert_allclose(model.parameters["mean"], values()[~frame().label].mean(axis=0))
    frame()[:160][["time", "device", "temperature", "pressure", "label"]].to_csv("early.csv", index=False)
    tried = train("zscore", "early.csv", *FILE[1:], "--alarm-rate", "0.02", "--hold-out", "0")
    scores, labels = scorer(tried).score(values()[160:]), frame().label[160:]
    alarms = scores > tried.manifest.threshold
    assert model.manifest.lineage.metrics == pytest.approx({
        "rows": 40, "anomalies": labels.sum(), "alarm_rate": alarms.mean(), "precision": precision_score(labels, alarms),
        "recall": recall_score(labels, alarms), "average_precision": average_precision_score(labels, scores),
    })  # fmt: skip
    assert model.manifest.lineage.data[0].rows == (~frame().label).sum()
    assert model.manifest.v == 3


def test_nothing_held_out_is_not_measured(folder: Path) -> None:
    model = train("zscore", *FILE, "--hold-out", "0")
    assert (model.manifest.lineage.metrics, model.manifest.lineage.data[0].rows) == ({}, (~frame().label).sum())


def test_readings_of_one_moment_stay_together() -> None:
    times = np.array([5, 1, 5, 2, 5, 3])
    rows = Rows(np.zeros((6, 1)), ["d"] * 6, times, None, None, (), np.zeros(6, np.int64))
    assert held_out(rows, 0.2).tolist() == [True, False, True, False, True, False]
    assert not held_out(rows, 0.0).any()


# -- a fit of one's own


def test_a_function_gets_a_frame_and_makes_a_model(folder: Path) -> None:
    model = train("--fit", "fits.py:forest", *FILE, "--alarm-rate", "0.05")
    import sys

    seen, tried = sys.modules["fit_fits"].SEEN
    assert len(tried) == 160
    assert list(seen.columns) == ["device", "time", "label", "temperature", "pressure"]
    assert (len(seen), str(seen.time.dtype), str(seen.label.dtype)) == (200, "datetime64[us, UTC]", "boolean")
    assert seen.time.is_monotonic_increasing
    assert seen.label.tolist() == frame().label.tolist()
    told = model.manifest.lineage
    assert (model.manifest.kind, told.settings["fit"], len(str(told.settings["fit_sha256"]))) == ("onnx", "fits.py:forest", 64)
    assert "scikit-learn" in told.libraries
    assert told.metrics["average_precision"] > 0.8
    normal = values()[~frame().label]
    assert (scorer(model).score(normal) > model.manifest.threshold).mean() <= 0.05


def test_what_a_function_prints_is_none_of_the_rows(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = CliRunner().invoke(cli, ["train", "--fit", "fits.py:talks", *FILE, "--name", "m", "--json"], standalone_mode=False)
    assert json.loads(done.stdout)["model"] == "m:1"
    assert "fitting" in done.stderr


def test_a_module_is_looked_for_here(folder: Path) -> None:
    assert train("--fit", "fits:classifier", *FILE, "--column", "1").manifest.lineage.metrics["recall"] >= 0


def test_a_graph_may_be_returned_as_a_file(folder: Path) -> None:
    with pytest.raises(SwapstreamError, match=r"auto\.onnx"):  # it takes five features
        train("--fit", "fits.py:path", *FILE, "--score", "reconstruction_error")


@pytest.mark.parametrize(("function", "kind", "said"), [
    ("nothing", InvalidSettings, "fit fits.py:nothing returned NoneType; allowed is a fitted scikit-learn estimator, or an ONNX graph"),
    ("number", InvalidSettings, "fit fits.py:number returned float"),
    ("scores", InvalidSettings, "fit fits.py:scores returned ndarray"),
    ("fails", InvalidSettings, r"fit fits.py:fails raised KeyError: 'missing' \(fits.py, line 38\)"),
    ("ends", InvalidSettings, r"fit fits.py:ends raised SystemExit: 3 \(fits.py, line"),
    ("unfitted", InvalidArtifact, "IsolationForest can't score the sample: This IsolationForest instance is not fitted yet"),
    ("wider", InvalidArtifact, "IsolationForest can't score the sample: X has 2 features, but IsolationForest is expecting 7"),
    ("clusters", InvalidArtifact, "DBSCAN does not score anomalies; supported are"),
    ("text", InvalidArtifact, "model no such file.onnx: no such file"),
    ("odd", InvalidSettings, "fit fits.py:odd returned object; allowed is"),
    ("kind", InvalidSettings, "fit fits.py:kind returned the class IsolationForest; allowed is a fitted"),
    ("later", InvalidSettings, "fit fits.py:later returned generator"),
    ("nonsense", InvalidArtifact, "graph of 8 bytes is not an ONNX model"),
    ("elsewhere", InvalidArtifact, r"IsolationForest can't become an ONNX graph: as a graph row 0 scores -2\.98.*e-08, the estimator says"),
    ("absent", UnknownName, "fits.py has no function 'absent'; it has"),
])  # fmt: skip
def test_what_a_fit_may_not_do_is_one_line_and_leaves_nothing(folder: Path, function: str, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        train("--fit", f"fits.py:{function}", *FILE)
    assert "\n" not in str(caught.value)
    assert not Path("run/store").exists()


@pytest.mark.parametrize(("arguments", "kind", "said"), [
    ((), InvalidSettings, "train takes a KIND, or --fit"),
    (("zscore",), InvalidSettings, "train takes a file, an export's directory, or --topic"),
    (("zscore", "rows.csv", "--topic", "telemetry"), InvalidSettings, "train takes a file, an export's directory, or --topic"),
    (("zscore", "rows.csv", "more.csv"), InvalidSettings, "not also 'more.csv'"),
    (("zscore", "rows.csv", "--from", "5", "--schema", "pumps.yaml"), InvalidSettings, "--from, --to and --last belong to --topic"),
    (("zscore", "rows.csv", "--every", "6h", "--schema", "pumps.yaml"), InvalidSettings, "--every and --on-drift go with --topic"),
    (("zscore", "--topic", "telemetry", "--last", "5"), InvalidSettings, "--last: '5' is no duration"),
    (("zscore", "--topic", "telemetry", "--last", "5h", "--from", "1"), InvalidSettings, "leave out --from and --to"),
    (("nonsense", *FILE), UnknownName, "nonsense"),
    (("--fit", "fits", *FILE), InvalidSettings, "fit 'fits': allowed is module:function or file.py:function"),
    (("--fit", "nowhere:fit", *FILE), UnknownName, "there is no module 'nowhere'"),
    (("--fit", "nowhere.py:fit", *FILE), UnknownName, "there is no file nowhere.py"),
    (("--fit", "broken.py:fit", *FILE), InvalidSettings, "importing broken.py raised ZeroDivisionError"),
    (("zscore", *FILE, "--column", "1"), InvalidSettings, "--score, --output and --column belong to --fit"),
    (("zscore", *FILE, "--hold-out", "0.999"), InvalidSettings, "0 of 200 rows are left to fit m to: a smaller --hold-out"),
    (("logistic", "plain.csv", "--schema", "pumps.yaml"), InvalidSettings, "label"),
])  # fmt: skip
def test_what_is_asked_wrongly(folder: Path, arguments: tuple[str, ...], kind: Any, said: str) -> None:
    Path("broken.py").write_text("1 / 0")
    frame().drop(columns="label").to_csv("plain.csv", index=False)
    with pytest.raises(kind, match=said):
        train(*arguments)
    assert not Path("run/store/refs").exists()


# -- from the topic and from exports


@pytest.fixture
def broker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The same readings in telemetry, in two partitions by turns, and labels."""
    made = Broker(monkeypatch)
    for place, row in enumerate(frame().itertuples()):
        at = int(row.time) * 1_000
        made.append("telemetry", reading(f"p-{place % 2}", (row.temperature, row.pressure), at), None, place % 2, at)
        if row.label:
            made.append("labels", Label(DeviceSpan(f"p-{place % 2}", at * 1_000, at * 1_000)).encode())
    return made


def test_a_span_of_telemetry(broker: Broker) -> None:
    model = train("zscore", "--topic", "telemetry", "--from", "10", "--to", "69", "--schema", "pumps.yaml")
    (first, second) = model.manifest.lineage.data
    assert [(one.kind, one.name, one.partition, one.first, one.last) for one in (first, second)] == [
        ("telemetry", "telemetry", 0, 10, 69), ("telemetry", "telemetry", 1, 10, 69)]
    chosen = frame()[20:140]
    assert first.rows + second.rows == (~chosen.label).sum()
    np.testing.assert_allclose(model.parameters["mean"], chosen[~chosen.label][["temperature", "pressure"]].mean())
    assert model.manifest.lineage.metrics["rows"] == 24
    assert model.manifest.lineage.extractor.startswith("identity:1:")


def test_times_and_the_last_so_long(broker: Broker) -> None:
    model = train("zscore", "--topic", "telemetry", "--to", "2026-01-01T01:00", "--schema", "pumps.yaml", "--hold-out", "0")
    assert [(one.first, one.last) for one in model.manifest.lineage.data] == [(0, 30), (0, 30)]
    with pytest.raises(InvalidSettings, match="topic telemetry: there are no readings in the span"):
        train("zscore", "--topic", "telemetry", "--last", "1h", "--schema", "pumps.yaml")


def test_what_retention_has_deleted(broker: Broker) -> None:
    broker.delete_before("telemetry", 40, 1)
    with pytest.raises(InvalidSettings, match="the earliest offset that is left is 40 in partition 1"):
        train("zscore", "--topic", "telemetry", "--from", "10", "--schema", "pumps.yaml")
    model = train("zscore", "--topic", "telemetry", "--schema", "pumps.yaml")
    assert [one.first for one in model.manifest.lineage.data] == [0, 40]


def test_features_are_those_of_the_extractor_on_each_partition(broker: Broker) -> None:
    given = input_of(None, "pumps.yaml", ["ewm(halflife=3)"])
    assert given is not None
    environment = load_environment("here.yaml")
    wanted = sections(environment, "telemetry", None, None)
    batches = list(computed(environment, "telemetry", 1, wanted[1], given, Remembered(0)))
    assert load_schema("pumps.yaml").names == given.schema.names
    assert sum(map(len, batches)) == N // 2
    assert {device for batch in batches for device in batch.devices} == {"p-1"}


def test_an_export_is_what_its_telemetry_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same readings through the archive and straight from the topic: the same features, by their digest."""
    plan = deployable("archiving", extractor=EWM)
    made = Broker(monkeypatch)
    made.live(lived(plan))
    export()
    archived = train("zscore", "out", "--hold-out", "0")
    again = train("zscore", "--topic", "telemetry", "--deployment", "detect", "--hold-out", "0")
    (one,), (other,) = archived.manifest.lineage.data, again.manifest.lineage.data
    assert (one.sha256, one.rows, one.first, one.last) == (other.sha256, other.rows, other.first, other.last)
    assert archived.manifest.features == again.manifest.features
    assert archived.manifest.lineage.extractor == again.manifest.lineage.extractor == one_extractor(plan)
    assert (archived.ref, again.ref, again.manifest.lineage.parent) == ("m:1", "m:2", "m:1")


def one_extractor(plan: Any) -> str:
    from swapstream.scripts.training import inputs_of

    return inputs_of(plan.plan, plan.schemas)[0].extractor.ref


def test_an_export_of_another_extractor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Broker(monkeypatch)
    made.live(lived(deployable("archiving", extractor=EWM)))
    export()
    with pytest.raises(InvalidSettings, match=r"out holds features of extractor ewm:1:.*; --plan or --schema says identity:1:"):
        train("zscore", "out", "--schema", "pumps.yaml")


def test_a_directory_that_is_no_export(folder: Path) -> None:
    Path("mine").mkdir()
    with pytest.raises(InvalidSettings, match=r"mine is a directory and no export: there is no _export.json in it"):
        train("zscore", "mine")
