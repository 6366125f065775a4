"""`swapstream train`, `pack` and `models`, from files to the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.models import Store
from swapstream.models.errors import Conflict, InvalidSettings, SwapstreamError, UnknownName
from swapstream.models.kinds import scorer
from swapstream.scripts.models import models_command
from swapstream.scripts.pack import pack_command
from swapstream.scripts.train import train_command
from tests.unit.models.examples import AUTOENCODER, graph
from tests.unit.models.graphs import recurrent, windows

SCHEMA = "name: pump\nfields: [t, p]\n"
ENVIRONMENT = "directory: {}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment, a schema, 60 readings of two devices (one of them not finite, two labelled) and a graph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.yaml").write_text(ENVIRONMENT.format(tmp_path / "run"))
    (tmp_path / "pump.yaml").write_text(SCHEMA)
    lines = ["time,device,t,p,bad"]
    for i in range(60):
        p = "" if i == 7 else str(1000.0 if i in (8, 9) else i % 5)
        lines.append(f"{i},d{i % 2},{i}.5,{p},{int(i in (8, 9))}")
    (tmp_path / "pump.csv").write_text("\n".join(lines))
    (tmp_path / "auto.onnx").write_bytes(graph(AUTOENCODER))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(100, 5)))
    return tmp_path


def run(command: Any, *arguments: str) -> list[dict[str, Any]]:
    found = CliRunner().invoke(command, [*arguments, "--json"], obj="env.yaml", catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def store(folder: Path) -> Store:
    return Store(folder / "run" / "store")


def train(*arguments: str) -> dict[str, Any]:
    held = () if "--hold-out" in arguments else ("--hold-out", "0")
    return run(train_command, *arguments, *held, "--schema", "pump.yaml", "--label", "bad")[0]


def test_train_leaves_out_what_is_labelled_or_not_finite(folder: Path) -> None:
    row = train("zscore", "pump.csv", "--name", "pump", "--alarm-rate", "0.05")
    artifact = store(folder).get(row["model"])
    good = np.array([[i + 0.5, i % 5] for i in range(60) if i not in (7, 8, 9)])
    np.testing.assert_allclose(artifact.parameters["mean"], good.mean(axis=0))
    assert (row["rows"], row["digest"], artifact.manifest.features) == (57, artifact.digest, ("t", "p"))
    assert (scorer(artifact).score(good) > row["threshold"]).sum() <= 0.05 * 57
    source = artifact.manifest.lineage.data[0]
    assert (source.name, source.rows, len(source.sha256)) == ("pump.csv", 57, 64)


def test_warming_readings_are_left_out(folder: Path) -> None:
    row = train("zscore", "pump.csv", "--name", "pump", "--extractor", "differences")
    assert row["rows"] == 55  # the first reading of each of two devices is warming


def test_versions_count_on_and_name_their_parent(folder: Path) -> None:
    assert [train("zscore", "pump.csv", "--name", "pump")["model"] for _ in range(2)] == ["pump:1", "pump:2"]
    assert store(folder).get("pump").manifest.lineage.parent == "pump:1"
    with pytest.raises(Conflict, match="model pump:1 exists"):
        train("zscore", "pump.csv", "--name", "pump", "--version", "1", "--seed", "9")


def test_options_reach_the_kind(folder: Path) -> None:
    train("pca", "pump.csv", "--name", "pump", "--option", "components=1")
    artifact = store(folder).get("pump")
    assert artifact.parameters["components"].shape == (1, 2)
    assert artifact.manifest.lineage.settings == {"components": 1}
    with pytest.raises(InvalidSettings, match="pca: unknown setting 'parts'"):
        train("pca", "pump.csv", "--name", "pump", "--option", "parts=1")
    with pytest.raises(InvalidSettings, match="option 'parts': allowed is key=value"):
        train("pca", "pump.csv", "--name", "pump", "--option", "parts")


def test_a_plan_gives_schema_and_extractor(folder: Path) -> None:
    (folder / "plan.yaml").write_text("name: p\nschema: pump.yaml\nextractor: [identity, differences]\n")
    row = run(train_command, "zscore", "pump.csv", "--name", "pump", "--plan", "plan.yaml")[0]
    assert row["features"] == 4
    with pytest.raises(InvalidSettings, match="leave out --extractor"):
        train("zscore", "pump.csv", "--name", "pump", "--plan", "plan.yaml", "--extractor", "identity")


def test_a_plan_with_several_schemas_needs_to_be_told_which(folder: Path) -> None:
    (folder / "fan.yaml").write_text("name: fan\nfields: [t]\ntype: fan\ntype_key: type\n")
    (folder / "plan.yaml").write_text(
        "name: p\nschema: [pump.yaml, fan.yaml]\nextractor: {pump: [identity, differences], fan: [identity]}\n"
    )
    arguments = ["zscore", "pump.csv", "--name", "pump", "--plan", "plan.yaml"]
    assert run(train_command, *arguments, "--schema", "pump")[0]["features"] == 4
    with pytest.raises(InvalidSettings, match="the plan has schemas pump, fan: say with --schema which"):
        run(train_command, *arguments)
    with pytest.raises(InvalidSettings, match="--schema is 'saw'; the plan's schemas are: pump, fan"):
        run(train_command, *arguments, "--schema", "saw")


def test_kinds_that_learn_from_labels_see_the_anomalies(folder: Path) -> None:
    row = train("logistic", "pump.csv", "--name", "pump", "--alarm-rate", "0")
    artifact = store(folder).get(row["model"])
    assert row["rows"] == 59
    found = scorer(artifact).score(np.array([[8.5, 1000.0], [8.5, 3.0]]))
    assert found[0] > artifact.manifest.threshold >= found[1]
    with pytest.raises(InvalidSettings, match="logistic: needs labels of both sorts; found: none"):
        run(train_command, "logistic", "pump.csv", "--name", "pump", "--schema", "pump.yaml")


def test_windows_are_trained_as_such(folder: Path) -> None:
    arguments = ("pump.csv", "--name", "pump", "--extractor", "window(n=4)", "--option", "hidden=2")
    row = train("autoencoder", *arguments)
    manifest = store(folder).get(row["model"]).manifest
    assert (manifest.shape, manifest.features[:3], row["features"]) == ((4, 2), ("t[-3]", "p[-3]", "t[-2]"), 8)


def test_rules_are_an_option_and_shown_with_their_numbers(folder: Path) -> None:
    row = train("rules", "pump.csv", "--name", "limits", "--option", "rules=t > 80 and p / t > 1.5: 2; p >= 1000")
    assert (row["threshold"], row["alarm_rate"]) == (0.0, None)
    shown = run(models_command, "show", "limits")[0]
    assert shown["rules"] == ["t > 80 and p / t > 1.5", "p >= 1000"]
    assert scorer(store(folder).get("limits")).score(np.array([[81.0, 1000.0]])).tolist() == [3.0]


def test_a_threshold_may_be_given(folder: Path) -> None:
    row = train("zscore", "pump.csv", "--name", "pump", "--threshold", "4.5")
    assert (row["threshold"], row["alarm_rate"]) == (4.5, None)


def test_pack_takes_windows_and_a_column(folder: Path) -> None:
    (folder / "lstm.onnx").write_bytes(recurrent(classes=3))
    np.save("w.npy", windows())
    run(pack_command, "lstm.onnx", "--sample", "w.npy", "--column", "2")
    manifest = store(folder).get("lstm").manifest
    assert (manifest.shape, manifest.column) == ((6, 3), 2)


def test_train_needs_fields(folder: Path) -> None:
    with pytest.raises(InvalidSettings, match="give --schema or --plan"):
        run(train_command, "zscore", "pump.csv", "--name", "pump")


def test_an_unknown_kind_or_name(folder: Path) -> None:
    with pytest.raises(UnknownName, match=r"model kind 'svd' does not exist; there are: autoencoder, .*, pca, rules, zscore"):
        train("svd", "pump.csv", "--name", "pump")
    with pytest.raises(SwapstreamError, match="model name 'Pump!': allowed are"):
        train("zscore", "pump.csv", "--name", "Pump!")


def test_pack_names_the_model_after_its_file(folder: Path) -> None:
    row = run(pack_command, "auto.onnx", "--sample", "x.npy", "--score", "reconstruction_error", "--features", "a, b,c,d,e")[0]
    artifact = store(folder).get("auto")
    assert (row["model"], row["kind"]) == ("auto:1", "onnx")
    assert artifact.manifest.features == ("a", "b", "c", "d", "e")
    assert artifact.graph == graph(AUTOENCODER)


def test_pack_says_what_unnamed_features_are_called(folder: Path) -> None:
    arguments = ["auto.onnx", "--sample", "x.npy", "--score", "reconstruction_error"]
    found = CliRunner().invoke(pack_command, arguments, obj="env.yaml", catch_exceptions=False)
    assert found.exit_code == 0
    assert store(folder).get("auto").manifest.features == ("x0", "x1", "x2", "x3", "x4")


def test_pack_takes_a_threshold(folder: Path) -> None:
    row = run(pack_command, "auto.onnx", "--sample", "x.npy", "--score", "reconstruction_error", "--threshold", "2.5")[0]
    assert (row["threshold"], row["alarm_rate"]) == (2.5, None)


@pytest.mark.parametrize(
    ("sample", "line"),
    [
        (np.zeros(3), r"holds float64 of shape \(3,\); allowed: numbers of shape"),
        (np.array([["a"]]), "holds <U1"),
        (np.array([[None]]), r"not a \.npy file of numbers"),
    ],
)
def test_samples_are_checked(folder: Path, sample: Any, line: str) -> None:
    np.save("s.npy", sample)
    with pytest.raises(InvalidSettings, match=f"sample s.npy.*{line}"):
        run(pack_command, "auto.onnx", "--sample", "s.npy")


def test_models_are_listed_and_shown(folder: Path) -> None:
    made = train("zscore", "pump.csv", "--name", "pump")
    train("pca", "pump.csv", "--name", "pump")
    assert [row["model"] for row in run(models_command, "list")] == ["pump:1", "pump:2"]
    shown = run(models_command, "show", "pump:1")[0]
    assert (shown["kind"], shown["digest"], shown["lineage"]["data"][0]["rows"]) == ("zscore", made["digest"], 57)
    with pytest.raises(UnknownName, match="there are: 1, 2"):
        run(models_command, "show", "pump:3")


def test_tables_are_for_people(folder: Path) -> None:
    train("zscore", "pump.csv", "--name", "pump")
    for arguments in (["list"], ["show", "pump"]):
        found = CliRunner().invoke(models_command, arguments, obj="env.yaml", catch_exceptions=False)
        assert found.exit_code == 0
