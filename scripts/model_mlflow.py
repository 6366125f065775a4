"""`swapstream models to-mlflow` and `from-mlflow`: models from here to MLflow, and back."""

from __future__ import annotations

import importlib
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidSettings, SwapstreamError
from swapstream.models.folders import line
from swapstream.models.lineage import file_source, lineage
from swapstream.models.store import Store
from swapstream.scripts.arrays import read_sample
from swapstream.scripts.console import json_option, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.new_model import graph_options, keep, next_version

_URI = re.compile(r"(models|runs|mlflow-artifacts):/")


@click.command("to-mlflow")
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--register", metavar="NAME", help="Log it as a run with its metrics, and register it so (needs the extra mlflow).")
@json_option
@click.pass_obj
def to_mlflow_command(environment: str, model: str, folder: Path, register: str | None, as_json: bool) -> None:
    """Write MODEL as a directory in MLflow's model format, which need not be installed for it."""
    from swapstream.models.mlflow import write_model

    library = _mlflow() if register else None
    artifact = Store(load_environment(environment).store).get(model)
    write_model(artifact, folder)
    told = {"model": artifact.ref, "folder": str(folder), "registered": _registered(library, artifact, folder, register)}
    show([told], list(told), as_json)


@click.command("from-mlflow")
@click.argument("source")
@click.option("--name", help="Name of the model, for a graph.")
@click.option("--sample", type=click.Path(), help="Typical rows for a graph, as `pack` takes them.")
@click.option("--plan", type=click.Path(), help="Take the features' names from this plan, for a graph.")
@click.option("--schema", help="With --plan: which of its schemas; or a schema with --extractor.")
@click.option("--extractor", "extractors", multiple=True, help="As `pack` takes it.")
@click.option("--alarm-rate", type=click.FloatRange(0, 1, max_open=True), help="Share of the sample above the threshold.  [0.001]")
@graph_options
@json_option
@click.pass_obj
def from_mlflow_command(environment: str, source: str, name: str | None, sample: str | None, plan: str | None, schema: str | None,
                        extractors: tuple[str, ...], alarm_rate: float | None, score: str | None, output: str | None,
                        column: int | None, as_json: bool) -> None:  # fmt: skip
    """Take in the model in SOURCE: a directory in MLflow's format, or a URI such as models:/pump/3 (needs the extra mlflow).

    What `to-mlflow` wrote comes back as it was. A graph of the flavor onnx becomes the next version of NAME, as with `pack`.
    """
    from swapstream.models.build import pack
    from swapstream.models.mlflow import read_model
    from swapstream.scripts.models import COLUMNS, row_of
    from swapstream.scripts.training import input_of

    store = Store(load_environment(environment).store)
    with ExitStack() as stack:
        folder = Path(source)
        if _URI.match(source):
            folder = _download(source, stack.enter_context(tempfile.TemporaryDirectory()))
        found = read_model(folder)
    if isinstance(found, bytes):
        if name is None or sample is None:
            raise InvalidSettings(f"{source} holds a graph: give --name and --sample, and perhaps --plan")
        rows, given = read_sample(sample), input_of(plan, schema, extractors)
        number, parent = next_version(store, name, None)
        made = lineage(data=[file_source(sample, len(rows))], parent=parent, settings={"mlflow": source},
                       extractor=given.extractor.ref if given else None)
        found = pack(found, rows, given.extractor.features if given else None, name=name, version=number, score=score, output=output,
                     column=column, alarm_rate=alarm_rate, lineage=made)
        found = keep(store, found, False)
    else:
        store.put(found)
    show([row_of(found, as_json)], COLUMNS, as_json)


def _mlflow() -> Any:
    """The library. Raises InvalidSettings where it isn't installed."""
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise InvalidSettings("MLflow is not installed: that needs the extra mlflow; directories in its format do not") from error


def _download(uri: str, folder: str) -> Path:
    library = _mlflow()
    try:
        return Path(library.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
    except Exception as error:  # of many kinds, and each client's own
        raise SwapstreamError(f"MLflow: {uri}: {line(error)}") from error


def _registered(library: Any, artifact: Artifact, folder: Path, name: str | None) -> str | None:
    """Log the directory as a run, and register it; returns name and version."""
    if library is None:
        return None
    said = artifact.manifest
    try:
        with library.start_run(run_name=artifact.ref) as run:
            library.log_params({"kind": said.kind, "digest": artifact.digest, **said.lineage.settings})
            library.log_metrics({"threshold": said.threshold, **said.lineage.metrics})
            library.set_tags({key: str(value) for key, value in msgspec.to_builtins(said.lineage).items() if isinstance(value, str | bool)})
            library.log_artifacts(str(folder), "model")
            made = library.register_model(f"runs:/{run.info.run_id}/model", name)
    except Exception as error:
        raise SwapstreamError(f"MLflow: {artifact.ref} is in {folder}, and could not be registered: {line(error)}") from error
    return f"{name}:{made.version}"
