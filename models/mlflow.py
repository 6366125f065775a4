"""MLflow's model format: a directory with a file `MLmodel` (YAML) that names the flavors in which a model can be read.

Written and read without MLflow. What is written has a flavor of ours, the artifact's own bytes, so that it comes back exactly; a graph
has MLflow's flavor `onnx` as well. MLflow runs either as a `python_function`: a graph through its own loader, our kinds through
`_load_pyfunc` here, where swapstream is installed. What is read is ours or `onnx`; other flavors are pickles, which are never opened.
Source: https://mlflow.org/docs/latest/models.html, and mlflow/models/model.py for the keys.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict, InvalidArtifact
from swapstream.models.graph_parts import tensors
from swapstream.models.kinds import scorer
from swapstream.models.yaml_file import read_mapping

if TYPE_CHECKING:
    import onnx
    import pandas

FILE = "MLmodel"
OURS = "swapstream"
ARTIFACT, GRAPH = "model.artifact", "model.onnx"
WRITTEN_AS = "2.14.0"
"""The version of MLflow whose format this is; later ones read it."""


def write_model(artifact: Artifact, folder: Path) -> None:
    """A directory that MLflow takes for a model; it has its name when it is whole. Raises Conflict where something is there already."""
    if folder.exists():
        raise Conflict(f"{folder} is there already; allowed is a directory that is not")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made.chmod(0o755)
        (made / ARTIFACT).write_bytes(artifact.encode())
        if artifact.graph is not None:
            (made / GRAPH).write_bytes(artifact.graph)
        needed = [f"{name}=={importlib.metadata.version(name)}" for name in _packages(artifact)]
        (made / "requirements.txt").write_text("\n".join(["mlflow", *needed]) + "\n")
        (made / "python_env.yaml").write_bytes(msgspec.yaml.encode(
            {"python": platform.python_version(), "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}))
        (made / "conda.yaml").write_bytes(msgspec.yaml.encode(
            {"name": "mlflow-env", "channels": ["conda-forge"],
             "dependencies": [f"python={platform.python_version()}", "pip", {"pip": ["mlflow", *needed]}]}))
        (made / FILE).write_bytes(msgspec.yaml.encode(_described(artifact)))
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _packages(artifact: Artifact) -> tuple[str, ...]:
    return ("onnx", "onnxruntime") if artifact.graph is not None else ("swapstream",)


def _described(artifact: Artifact) -> dict[str, Any]:
    """The file MLmodel."""
    said, graph = artifact.manifest, artifact.graph is not None
    flavors: dict[str, Any] = {
        OURS: {"data": ARTIFACT, "sha256": artifact.digest, "model": artifact.ref, "kind": said.kind},
        "python_function": {
            "loader_module": "mlflow.onnx" if graph else "swapstream.models.mlflow", "data": GRAPH if graph else ARTIFACT,
            "python_version": platform.python_version(), "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        },
    }  # fmt: skip
    if graph:
        version = importlib.metadata.version("onnx")
        flavors["onnx"] = {"data": GRAPH, "onnx_version": version, "providers": ["CPUExecutionProvider"], "code": None}
    inputs, outputs = signature(artifact)
    return {
        "flavors": flavors, "mlflow_version": WRITTEN_AS, "model_uuid": artifact.digest[:32], "utc_time_created": said.lineage.created,
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
        "metadata": {OURS: msgspec.to_builtins(said)},
    }  # fmt: skip


def signature(artifact: Artifact) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What goes in and comes out, as MLflow has it: tensors, -1 for what is open."""
    if artifact.graph is None:
        return [_tensor("float64", [-1, len(artifact.manifest.features)])], [_tensor("float64", [-1])]
    graph = _load(artifact.graph).graph
    outputs = [value for value in graph.output if artifact.manifest.output in (None, value.name)]
    return [_named(value) for value in graph.input], [_named(value) for value in outputs]


def _named(value: onnx.ValueInfoProto) -> dict[str, Any]:
    import onnx

    kind = value.type.tensor_type
    shape = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
    return {"name": value.name, **_tensor(str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)), shape)}


def _tensor(dtype: str, shape: list[int]) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


def _load(graph: bytes) -> Any:
    import onnx

    return onnx.load_from_string(graph)


# -- reading


def read_model(folder: Path) -> Artifact | bytes:
    """An artifact that was written here, or else the bytes of an ONNX graph. Raises InvalidArtifact for other flavors, UnknownName."""
    flavors = read_mapping(folder / FILE, "MLflow model", InvalidArtifact).get("flavors")
    known = flavors if isinstance(flavors, dict) else {}
    if OURS in known:
        data = _file(folder, known[OURS]).read_bytes()
        if hashlib.sha256(data).hexdigest() != known[OURS].get("sha256"):
            raise InvalidArtifact(f"{folder}: {ARTIFACT} is not what {FILE} says that it is", "digest")
        return Artifact.decode(data)
    if "onnx" in known:
        return _graph(_file(folder, known["onnx"]))
    raise InvalidArtifact(f"{folder} has flavors {', '.join(known) or 'none'}; allowed are {OURS} and onnx: log it with mlflow.onnx, since "
                          "others are pickles")  # fmt: skip


def _file(folder: Path, flavor: Any) -> Path:
    """The file of a flavor, which must lie in the directory itself."""
    name = flavor.get("data") if isinstance(flavor, dict) else None
    return _inside(folder, str(name))


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise InvalidArtifact(f"{folder}: {name!r:.100} is no file in it")
    return path


def _graph(path: Path) -> bytes:
    """The bytes of a graph with its tensors in it: MLflow writes large ones into files beside it."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own
        raise InvalidArtifact(f"{path}: not an ONNX model: {type(error).__name__}", "graph") from error
    for _, tensor in tensors(model):
        if uses_external_data(tensor):
            places = [entry.value for entry in tensor.external_data if entry.key == "location"]
            _inside(path.parent, places[0] if places else "")
    load_external_data_for_model(model, str(path.parent))
    return bytes(model.SerializeToString())


# -- what MLflow calls


class Scores:
    """A model as MLflow's `python_function` has it."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact, self._scorer = artifact, scorer(artifact)

    def predict(self, model_input: pandas.DataFrame | np.ndarray[Any, Any], params: dict[str, Any] | None = None) -> np.ndarray[Any, Any]:
        """Scores float64[n] of rows [n, F], or of a data frame with the features by name."""
        names = list(self.artifact.manifest.features)
        rows = model_input if isinstance(model_input, np.ndarray) else model_input[names].to_numpy()
        return self._scorer.score(np.ascontiguousarray(rows, np.float64).reshape(-1, len(names)))


def _load_pyfunc(path: str) -> Scores:
    """MLflow looks for a function of this name in a flavor's `loader_module`."""
    return Scores(Artifact.decode(Path(path).read_bytes()))
