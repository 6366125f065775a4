"""`swapstream train`, `pack` and `models`: making artifacts, and looking at those in the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.calibrate import ALARM_RATE
from swapstream.models.errors import InvalidSettings
from swapstream.models.lineage import file_source, lineage
from swapstream.models.manifest import SCORES
from swapstream.models.store import Store
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.files import Columns, file_options, read_telemetry
from swapstream.scripts.training import Input, features_of, input_of

COLUMNS = ("model", "kind", "features", "threshold", "alarm_rate", "bitwise", "digest")

Setting = int | float | str

_new = [
    click.option("--version", type=click.IntRange(min=1), help="[the next one of this name in the store]"),
    click.option("--plan", type=click.Path(), help="Take schema and extractor from this plan."),
    click.option("--schema", help="Schema: a name in conf/schemas/ or a YAML file."),
    click.option("--extractor", "extractors", multiple=True, help='As in "ewm(halflife=20)"; may be repeated. [identity]'),
    click.option("--alarm-rate", type=click.FloatRange(0, 1, max_open=True), default=ALARM_RATE, show_default=True,
                 help="Share of the given rows that may lie above the threshold."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is random in fitting."),
    json_option,
]


def _making(command: Any) -> Any:
    """The options that train and pack share."""
    for option in reversed(_new):
        command = option(command)
    return command


@click.command("train")
@click.argument("kind")
@click.argument("file", type=click.Path())
@click.option("--name", required=True, help="Name of the model.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Setting of the kind, as in components=3.")
@file_options
@_making
@click.pass_obj
def train_command(environment: str, kind: str, file: str, name: str, columns: Columns, options: Sequence[str],
                  version: int | None, plan: str | None, schema: str | None, extractors: Sequence[str], alarm_rate: float,
                  seed: int, as_json: bool) -> None:
    """Fit a model of KIND (zscore, pca) to the telemetry in FILE (CSV or Parquet) and put it into the store.

    The features are those that the plan's, or the given, extractor yields; readings that are still warming, and those
    labelled as anomalies, are left out. The threshold is the smallest that at most --alarm-rate of the rows exceed.
    """
    from swapstream.models.build import train

    given = input_of(plan, schema, extractors)
    if given is None:
        raise InvalidSettings("train needs the fields of the telemetry: give --schema or --plan")
    store = Store(load_environment(environment).store)
    number, parent = _version(store, name, version)
    settings = dict(map(_setting, options))
    telemetry = read_telemetry(file, given.schema.names, columns)
    rows = features_of(telemetry, given.extractor)
    made = lineage(data=[msgspec.structs.replace(telemetry.source, rows=len(rows))], seed=seed, settings=settings, parent=parent,
                   extractor=given.extractor.ref)
    artifact = train(kind, rows, given.extractor.features, name=name, version=number, alarm_rate=alarm_rate, seed=seed,
                     settings=settings, lineage=made)
    _keep(store, artifact, as_json)


@click.command("pack")
@click.argument("model", type=click.Path())
@click.option("--sample", required=True, type=click.Path(), help="Typical rows of features: a .npy file of shape (rows, features).")
@click.option("--name", help="Name of the model. [the file's]")
@click.option("--features", help="Names of the features in the order of the columns, with commas; or give --plan or --schema.")
@click.option("--score", type=click.Choice(SCORES), help="How the output becomes the score: greater is more abnormal. [output]")
@click.option("--output", help="Output of the graph that is read. [the only one of floating point]")
@click.option("--threshold", type=float, help="Threshold, instead of one calibrated on the sample.")
@_making
@click.pass_obj
def pack_command(environment: str, model: str, sample: str, name: str | None, features: str | None, score: str | None,
                 output: str | None, threshold: float | None, version: int | None, plan: str | None, schema: str | None,
                 extractors: Sequence[str], alarm_rate: float, seed: int, as_json: bool) -> None:
    """Make an artifact of the ONNX graph in MODEL and put it into the store.

    The graph takes all features as one input, [n, F] or [n, 1, F], and yields a score a row, or, with --score
    reconstruction_error, the row rebuilt. An outlier detector converted by skl2onnx is recognised, and its score negated.
    """
    from swapstream.models.build import pack

    name = name or re.sub(r"[^a-z0-9._-]+", "-", Path(model).stem.lower())
    store = Store(load_environment(environment).store)
    number, parent = _version(store, name, version)
    rows = _sample(sample)
    given = input_of(plan, schema, extractors)
    names = _names(features, given)
    made = lineage(data=[file_source(sample, len(rows))], seed=seed, parent=parent,
                   extractor=given.extractor.ref if given else None)
    artifact = pack(model, rows, names, name=name, version=number, score=score, output=output, threshold=threshold,
                    alarm_rate=alarm_rate, seed=seed, lineage=made)
    _keep(store, artifact, as_json)


@click.group("models")
def models_command() -> None:
    """Show the models in the store."""


@models_command.command("list")
@json_option
@click.pass_obj
def list_command(environment: str, as_json: bool) -> None:
    """Every model and version."""
    store = Store(load_environment(environment).store)
    show((_row(store.get(entry.ref), as_json) for entry in store.list()), COLUMNS, as_json)


@models_command.command("show")
@click.argument("model")
@json_option
@click.pass_obj
def show_command(environment: str, model: str, as_json: bool) -> None:
    """The manifest of MODEL: a name, for its newest version, or name:version."""
    artifact = Store(load_environment(environment).store).get(model)
    manifest = msgspec.to_builtins(artifact.manifest) | {"digest": artifact.digest}
    if as_json:
        show([manifest], (), True)
        return
    flat = {**manifest, **{f"{part}.{key}": value for part in ("lineage", "reference") for key, value in manifest[part].items()}}
    show(({"field": key, "value": value} for key, value in flat.items() if key not in ("lineage", "reference")),
         ("field", "value"), False, title=artifact.ref)


def _version(store: Store, name: str, version: int | None) -> tuple[int, str | None]:
    """The version to make, and the newest one that is there already: its parent."""
    there = store.versions(name)
    return version or store.next_version(name), f"{name}:{there[-1]}" if there else None


def _keep(store: Store, artifact: Artifact, as_json: bool) -> None:
    store.put(artifact)
    show([_row(artifact, as_json)], COLUMNS, as_json)


def _row(artifact: Artifact, whole: bool) -> dict[str, Any]:
    """What is shown of an artifact; `whole`: every digit, as scripts want them."""
    manifest = artifact.manifest
    return {
        "model": artifact.ref,
        "kind": manifest.kind,
        "features": len(manifest.features),
        "threshold": manifest.threshold if whole else f"{manifest.threshold:.6g}",
        "alarm_rate": manifest.alarm_rate,
        "bitwise": manifest.bitwise,
        "digest": artifact.digest if whole else artifact.digest[:12],
        "created": manifest.lineage.created,
        "author": manifest.lineage.author,
        "rows": sum(source.rows for source in manifest.lineage.data),
    }


def _setting(text: str) -> tuple[str, Setting]:
    """key=value, the value as an integer or a number where it reads like one."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidSettings(f"option {text!r}: allowed is key=value")
    for convert in (int, float):
        try:
            return key, convert(value)
        except ValueError:
            continue
    return key, value


def _sample(path: str) -> Float64:
    """The rows of a .npy file; never of a pickle."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidSettings(f"sample {path}: not a .npy file of numbers: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind not in "fiu":
        found = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise InvalidSettings(f"sample {path} holds {found}; allowed: numbers of shape (rows, features)")
    return rows.astype(np.float64)


def _names(features: str | None, given: Input | None) -> tuple[str, ...] | None:
    """Names of the columns: as given, or as an extractor yields them; None: x0, x1 and so on."""
    if features is not None and given is not None:
        raise InvalidSettings("--features names the columns, and so does --plan or --schema: give one")
    if features is not None:
        return tuple(name.strip() for name in features.split(","))
    if given is not None:
        return given.extractor.features
    say("the features are called x0, x1, …: a plan's extractor must yield these names, else give --features, --plan or --schema")
    return None
