"""MLflow's model format, without MLflow: what is written, that it comes back, and what is never opened."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pandas
import pytest
import yaml
from click.testing import CliRunner
from sklearn.ensemble import IsolationForest

from swapstream.models import Store, pack
from swapstream.models.errors import Conflict, InvalidArtifact, InvalidSettings, SwapstreamError, UnknownName
from swapstream.models.kinds import scorer
from swapstream.models.mlflow import _load_pyfunc
from swapstream.scripts.environment import load_environment
from swapstream.scripts.main import cli
from tests.unit.models.examples import AUTOENCODER, LINEAGE, graph, make, sample

ROWS = sample(200)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a model of numbers and one with a graph."""
    monkeypatch.chdir(tmp_path)
    Path("here.yaml").write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", "here.yaml")
    store().put(make("zscore", version=1))
    forest = IsolationForest(n_estimators=5, random_state=0).fit(ROWS)
    store().put(pack(forest, ROWS, list("abcde"), name="forest", version=2, lineage=LINEAGE))
    np.save("rows.npy", ROWS)
    return tmp_path


def store(name: str = "here.yaml") -> Store:
    return Store(load_environment(name).store)


def run(*arguments: str, env: str = "here.yaml") -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["--environment", env, "models", *arguments, "--json"], standalone_mode=False)
    if done.exception:
        raise done.exception
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    return row


@pytest.mark.parametrize("ref", ["demo:1", "forest:2"])
def test_there_and_back_is_the_same_artifact(folder: Path, ref: str) -> None:
    run("to-mlflow", ref, "out")
    Path("other.yaml").write_text(f"directory: {folder}/other\n")
    row = run("from-mlflow", "out", env="other.yaml")
    assert row["digest"] == store("other.yaml").get(ref).digest == store().get(ref).digest
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []


def test_a_graph_is_a_model_of_mlflows_flavor_onnx(folder: Path) -> None:
    """The keys that mlflow.onnx and mlflow.pyfunc read."""
    run("to-mlflow", "forest", "out")
    said = yaml.safe_load(Path("out/MLmodel").read_text())
    assert set(said) >= {"flavors", "mlflow_version", "model_uuid", "utc_time_created", "signature", "metadata"}
    assert said["flavors"]["onnx"]["data"] == said["flavors"]["python_function"]["data"] == "model.onnx"
    assert said["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"
    assert set(said["flavors"]["python_function"]["env"].values()) == {"conda.yaml", "python_env.yaml"}
    assert all((Path("out") / name).is_file() for name in ("conda.yaml", "python_env.yaml", "requirements.txt", "model.onnx"))
    (tensor,) = json.loads(said["signature"]["inputs"])
    assert (tensor["type"], tensor["tensor-spec"]) == ("tensor", {"dtype": "float64", "shape": [-1, 5]})
    assert said["metadata"]["swapstream"]["lineage"]["author"] == LINEAGE.author
    onnx.checker.check_model(onnx.load("out/model.onnx"))
    assert "onnxruntime==" in Path("out/requirements.txt").read_text()


def test_numbers_are_a_python_function(folder: Path) -> None:
    run("to-mlflow", "demo", "out")
    said = yaml.safe_load(Path("out/MLmodel").read_text())["flavors"]["python_function"]
    assert said["loader_module"] == "swapstream.models.mlflow"
    loaded, wanted = _load_pyfunc(f"out/{said['data']}"), scorer(store().get("demo")).score(ROWS)
    frame = pandas.DataFrame(ROWS[:, ::-1], columns=list("edcba"))
    assert loaded.predict(ROWS).tolist() == loaded.predict(frame).tolist() == wanted.tolist()


def logged(name: str, **flavor: Any) -> Path:
    """A directory as mlflow.onnx.log_model leaves it."""
    path = Path(name)
    path.mkdir()
    (path / "model.onnx").write_bytes(graph(AUTOENCODER))
    flavors = {"onnx": {"code": None, "data": "model.onnx", "onnx_version": "1.16.0", "providers": ["CPUExecutionProvider"], **flavor},
               "python_function": {"data": "model.onnx", "loader_module": "mlflow.onnx"}}  # fmt: skip
    (path / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "mlflow_version": "2.14.1", "run_id": "0" * 32}))
    return path


IMPORT = ("--name", "auto", "--sample", "rows.npy", "--score", "reconstruction_error")


def test_a_graph_that_mlflow_logged(folder: Path) -> None:
    logged("theirs")
    row = run("from-mlflow", "theirs", *IMPORT)
    made = store().get("auto:1")
    assert (row["model"], made.manifest.kind, made.manifest.lineage.settings["mlflow"]) == ("auto:1", "onnx", "theirs")
    assert run("from-mlflow", "theirs", *IMPORT)["parent"] == "auto:1"


def raw() -> Any:
    """The graph, its numbers as bytes."""
    model = onnx.load_from_string(graph(AUTOENCODER))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    return model


def test_tensors_that_mlflow_wrote_beside_it(folder: Path) -> None:
    path, model = logged("theirs"), raw()
    onnx.save_model(model, str(path / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (path / "weights.bin").stat().st_size
    run("from-mlflow", "theirs", *IMPORT)
    plain = pack(graph(AUTOENCODER), ROWS, name="auto", score="reconstruction_error", lineage=LINEAGE)
    assert scorer(store().get("auto")).score(ROWS).tolist() == scorer(plain).score(ROWS).tolist()


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "missing.bin", "link.bin"])
def test_tensors_elsewhere_are_never_read(folder: Path, location: str) -> None:
    Path("secret").write_bytes(b"\0" * 200)
    path = logged("theirs")
    (path / "link.bin").symlink_to(folder / "secret")
    model = raw()
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
    (path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidArtifact, match=r"theirs: '.*' is no file in it"):
        run("from-mlflow", "theirs", *IMPORT)


def broken(text: str) -> None:
    Path("theirs").mkdir()
    Path("theirs/MLmodel").write_text(text)


@pytest.mark.parametrize(("text", "kind", "said"), [
    ("flavors: {sklearn: {pickled_model: model.pkl}, python_function: {}}", InvalidArtifact,
     "theirs has flavors sklearn, python_function; allowed are swapstream and onnx: log it with mlflow.onnx, since others are pickles"),
    ("flavors: 7", InvalidArtifact, "has flavors none"),
    ("a: [", InvalidArtifact, "MLflow model theirs/MLmodel is not YAML"),
    ("flavors: {onnx: {data: ../model.onnx}}", InvalidArtifact, "'../model.onnx' is no file in it"),
    ("flavors: {onnx: {}}", InvalidArtifact, "'None' is no file in it"),
    ("flavors: {onnx: {data: MLmodel}}", InvalidArtifact, "theirs/MLmodel: not an ONNX model"),
    ("flavors: {swapstream: {data: MLmodel, sha256: x}}", InvalidArtifact, "model.artifact is not what MLmodel says"),
])  # fmt: skip
def test_what_is_no_model_of_ours(folder: Path, text: str, kind: Any, said: str) -> None:
    broken(text)
    with pytest.raises(kind, match=said):
        run("from-mlflow", "theirs", *IMPORT)
    assert len(store().list()) == 2


def test_a_directory_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UnknownName, match="no such file"):
        run("from-mlflow", "theirs")


def test_a_graph_needs_a_sample(folder: Path) -> None:
    logged("theirs")
    with pytest.raises(InvalidSettings, match="theirs holds a graph: give --name and --sample"):
        run("from-mlflow", "theirs")


def test_nothing_is_overwritten(folder: Path) -> None:
    Path("out").mkdir()
    with pytest.raises(Conflict, match="out is there already"):
        run("to-mlflow", "demo", "out")


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for arguments in (("from-mlflow", "models:/pump/3"), ("to-mlflow", "demo", "out", "--register", "pump")):
        with pytest.raises(InvalidSettings, match="MLflow is not installed: that needs the extra mlflow"):
            run(*arguments)
    assert not Path("out").exists()


class Library:
    """What is called of MLflow."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.artifacts = SimpleNamespace(download_artifacts=self._download)

    def _download(self, artifact_uri: str, dst_path: str) -> str:
        if artifact_uri.endswith("/9"):
            raise RuntimeError("RESOURCE_DOES_NOT_EXIST:\n no such version")
        return str(logged(f"{dst_path}/model"))

    def start_run(self, run_name: str) -> Any:
        self.said["run"] = run_name
        return self

    def __enter__(self) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def __exit__(self, *_: object) -> None:
        pass

    def log_params(self, params: Any) -> None:
        self.said["params"] = params

    def log_metrics(self, metrics: Any) -> None:
        self.said["metrics"] = metrics

    def set_tags(self, tags: Any) -> None:
        self.said["tags"] = tags

    def log_artifacts(self, folder: str, path: str) -> None:
        self.said["files"] = sorted(file.name for file in Path(folder).iterdir())

    def register_model(self, uri: str, name: str) -> Any:
        self.said["registered"] = (uri, name)
        return SimpleNamespace(version="4")


def test_with_a_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setitem(sys.modules, "mlflow", library)  # type: ignore[arg-type]
    assert run("from-mlflow", "models:/auto/3", *IMPORT)["model"] == "auto:1"
    with pytest.raises(SwapstreamError, match="MLflow: models:/auto/9: RESOURCE_DOES_NOT_EXIST: no such version"):
        run("from-mlflow", "models:/auto/9", *IMPORT)
    assert run("to-mlflow", "demo", "out", "--register", "pump")["registered"] == "pump:4"
    assert library.said["registered"] == ("runs:/r1/model", "pump")
    assert (library.said["run"], library.said["tags"]["author"]) == ("demo:1", LINEAGE.author)
    assert "MLmodel" in library.said["files"]
    assert all(isinstance(value, float) for value in library.said["metrics"].values())
