"""`swapstream try`: its numbers are scikit-learn's, and its scores the pipeline's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score, recall_score

from swapstream.models import Artifact, Store, pack, train
from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.frame import Frame
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan_file import PlanFile, RouteFile, resolve
from swapstream.scripts.main import cli
from swapstream.scripts.metrics import events, quality
from swapstream.scripts.plot import draw
from swapstream.scripts.trial import Trial, rows_of, run_trial
from tests.unit.models.graphs import T, convolution, windows
from tests.unit.models.oracles import rebuilt

SCHEMA = Schema.from_columns("pump", ["temperature", "flow"])
N = 5_000
DEVICES = ("pump-1", "pump-2", "fan-1")


class Shelf:
    """A catalogue and a look-up of models made here."""

    def __init__(self, *models: Artifact) -> None:
        self.models = {model.ref: model for model in models}

    def schema(self, _: Any) -> Schema:
        return SCHEMA

    def model(self, wanted: Any) -> Artifact:
        return self.models[getattr(wanted, "name", wanted)]


def telemetry(spikes: list[int]) -> Frame:
    values = np.random.default_rng(0).normal(size=(N, 2))
    values[spikes] += 30
    times = np.arange(N) * 1_000_000
    return Frame(0, np.arange(N), times // 1_000, times, [DEVICES[i % 3] for i in range(N)], values)


@pytest.fixture(scope="module")
def models() -> tuple[Artifact, Artifact]:
    normal = np.random.default_rng(1).normal(size=(2_000, 2))
    return tuple(  # type: ignore[return-value]
        train(kind, normal, SCHEMA.names, name=kind, alarm_rate=0.01) for kind in ("zscore", "pca")
    )


def tried(file: PlanFile, models: tuple[Artifact, ...], frame: Frame, labels: Any = None) -> Trial:
    shelf = Shelf(*models)
    return run_trial(Pipeline(resolve(file, shelf), shelf).input(), frame, labels)


def test_rows_are_scikit_learns_numbers_over_every_frame(models: tuple[Artifact, Artifact]) -> None:
    spikes = [2_500, 2_503, 2_506, 4_000]
    labels = np.zeros(N, bool)
    labels[[2_500, 2_503, 2_506, 2_509, 100]] = True
    frame = telemetry(spikes)
    trial = tried(PlanFile("p", "pump", champion="zscore:1", challengers=("pca:1",)), models, frame, labels)
    row = rows_of(trial)[0]
    manifest = models[0].manifest
    expected = np.abs((frame.values - manifest.reference.mean) / manifest.reference.deviation).max(axis=1)
    alarms = expected > manifest.threshold
    assert [role.role for role in trial.roles] == ["champion", "challenger"]
    assert trial.roles[0].scores == pytest.approx(expected)
    assert (row["records"], row["anomalies"], row["warming"], row["errors"]) == (N, alarms.sum(), 0, 0)
    assert row["alarm_rate"] == alarms.mean()
    assert row["precision"] == precision_score(labels, alarms)
    assert row["recall"] == recall_score(labels, alarms)
    assert row["average_precision"] == average_precision_score(labels, expected)
    assert row["events"] == 2
    assert row["event_recall"] == (0.5 if not alarms[100] else 1.0)
    assert row["model"] == "zscore:1"


def test_records_that_warm_up_raise_no_alarm_and_are_not_ranked(models: tuple[Artifact, Artifact]) -> None:
    file = PlanFile("p", "pump", ({"differences": {"label": "d"}},), champion="d:1")
    rows = np.diff(np.random.default_rng(2).normal(size=(500, 2)), axis=0)
    model = train("zscore", rows, ("temperature.d", "flow.d"), name="d", alarm_rate=0.5)
    trial = tried(file, (model,), telemetry([]), np.arange(N) < 3)
    row = rows_of(trial)[0]
    assert row["warming"] == 3
    assert not trial.roles[0].alarms[:3].any()
    assert row["average_precision"] is None
    assert row["recall"] == 0


def test_a_graph_over_windows_sees_each_devices_own_last_readings() -> None:
    frame = telemetry([])
    values = np.column_stack([frame.values, frame.values[:, 0] * 0.5])
    frame = Frame(0, frame.offsets, frame.timestamps, frame.times, frame.devices, values)
    wide = Schema.from_columns("wide", ["a", "b", "c"])

    class Wide(Shelf):
        def schema(self, _: Any) -> Schema:
            return wide

    names = tuple(f"{field}[-{back}]" for back in range(T - 1, -1, -1) for field in wide.names)
    graph = convolution()
    shelf = Wide(pack(graph, windows(), names, name="seen", score="reconstruction_error"))
    file = PlanFile("p", "wide", ({"window": {"n": T}},), champion="seen:1")
    trial = run_trial(Pipeline(resolve(file, shelf), shelf).input(), frame)
    past = {device: np.flatnonzero([other == device for other in frame.devices]) for device in DEVICES}
    for place in (15, 16, 17, 2_001, N - 1):
        own = past[frame.devices[place]]
        window = values[own[own <= place][-T:]][None]
        assert trial.roles[0].scores[place] == pytest.approx(rebuilt(graph, window.astype(np.float32))[0], rel=1e-5)
    assert trial.warming.sum() == 3 * (T - 1)


def test_a_role_counts_only_the_devices_of_its_route(models: tuple[Artifact, Artifact]) -> None:
    routes = (RouteFile("pump-*", "zscore:1"), RouteFile("fan-*", "pca:1", threshold=1e9))
    trial = tried(PlanFile("p", "pump", routes=routes), models, telemetry([0, 2]), np.zeros(N, bool))
    pumps, fans = rows_of(trial)
    assert pumps["records"] + fans["records"] == N
    assert fans["records"] == N // 3
    assert (fans["anomalies"], fans["threshold"]) == (0, 1e9)
    assert (fans["precision"], fans["recall"], fans["event_recall"], fans["events"]) == (None, None, None, 0)


def test_without_a_champion_records_are_only_counted() -> None:
    trial = tried(PlanFile("p", "pump", ("ewm",)), (), telemetry([]))
    (row,) = rows_of(trial)
    assert (row["role"], row["records"], row["warming"]) == (None, N, 120)


def test_an_empty_file_has_no_rates(models: tuple[Artifact, Artifact]) -> None:
    empty = np.zeros(0, np.int64)
    trial = tried(PlanFile("p", "pump", champion="pca:1"), models, Frame(0, empty, empty, empty, [], np.zeros((0, 2))))
    assert rows_of(trial)[0]["records"] == 0


def test_the_plot_is_a_picture(models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    file = PlanFile("p", "pump", champion="zscore:1", challengers=("pca:1",))
    labels = np.zeros(N, bool)
    labels[100:140] = True
    draw(tried(file, models, telemetry([100]), labels), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_events_are_runs_of_labels_of_one_device() -> None:
    devices = ["a", "b", "a", "b", "a", "b", "a"]
    labels = np.array([1, 1, 1, 0, 0, 1, 1], bool)
    assert events(devices, labels).tolist() == [0, 2, 0, -1, -1, 3, 1]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50))
def test_quality_is_scikit_learns(some: list[tuple[bool, float]]) -> None:
    labels, scores = np.array([label for label, _ in some]), np.array([score for _, score in some])
    alarms = scores > 0.5
    found = quality(["a"] * len(some), labels, alarms, scores, np.ones(len(some), bool))
    if alarms.any():
        assert found.precision == precision_score(labels, alarms)
    if labels.any():
        assert found.recall == recall_score(labels, alarms)
        assert found.average_precision == average_precision_score(labels, scores)
    assert (found.precision is None, found.recall is None) == (not alarms.any(), not labels.any())


def spiky_csv(folder: Path) -> Path:
    """A file with one fault of three records, one alarm outside of it, and one record without a value."""
    lines = ["time,device,temperature,flow,label"]
    for i in range(300):
        value = 50 if i in (100, 102, 200) else i % 3 / 10
        lines.append(f"{i},pump,{'' if i == 50 else value},{-value},{int(i in (100, 101, 102))}")
    file = folder / "pump.csv"
    file.write_text("\n".join(lines))
    return file


def invoke(folder: Path, models: tuple[Artifact, ...], *options: str) -> Any:
    store = Store(folder / "state" / "store")
    for model in models:
        store.put(model)
    (folder / "env.yaml").write_text(f"directory: {folder}/state")
    (folder / "pump.yaml").write_text("fields: [temperature, flow]")
    (folder / "plan.yaml").write_text("{name: p, schema: pump.yaml, champion: zscore, challengers: [pca]}")
    file = spiky_csv(folder)
    return CliRunner().invoke(
        cli, ["--env", f"{folder}/env.yaml", "try", f"{folder}/plan.yaml", str(file), *options], catch_exceptions=False
    )


def test_the_command_from_csv_to_json(models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    done = invoke(tmp_path, models, "--json", "--plot", str(tmp_path / "plot.png"))
    champion, challenger = map(json.loads, done.stdout.splitlines())
    assert (champion["role"], challenger["role"]) == ("champion", "challenger")
    assert (champion["records"], champion["anomalies"], champion["events"]) == (299, 3, 1)
    assert champion["precision"] == champion["recall"] == pytest.approx(2 / 3)
    assert champion["event_recall"] == 1
    assert "left out 1 of 300 records" in " ".join(done.stderr.split())
    assert (tmp_path / "plot.png").stat().st_size > 1_000


def test_of_several_schemas_one_is_tried(models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    invoke(tmp_path, models)
    (tmp_path / "fan.yaml").write_text("{fields: [speed], type_key: kind, type: fan}")
    (tmp_path / "plan.yaml").write_text(
        "{name: p, schema: [pump.yaml, fan.yaml], routes: [{type: pump, champion: 'zscore:1'}]}")
    arguments = ["--env", str(tmp_path / "env.yaml"), "try", str(tmp_path / "plan.yaml"), str(tmp_path / "pump.csv"), "--json"]
    found = CliRunner().invoke(cli, [*arguments, "--schema", "pump"])
    assert json.loads(found.stdout)["records"] == 299
    unsaid = CliRunner().invoke(cli, arguments)
    assert unsaid.exit_code != 0
    assert "has schemas pump, fan; none was chosen" in str(unsaid.exception) + unsaid.output


def test_the_command_prints_a_table_that_fits(models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    done = invoke(tmp_path, models)
    assert "champion zscore:1" in done.stdout
    assert re.search(r"event_recall +│ 1 ", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_plot_of_an_unknown_format_is_one_line(models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"plot\.xyz: Format 'xyz' is not supported"):
        invoke(tmp_path, models, "--plot", str(tmp_path / "plot.xyz"))
