"""`swapstream train` and `pack`: making artifacts, and putting them into the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidSettings
from swapstream.models.kinds import kind_of
from swapstream.models.lineage import file_source, lineage
from swapstream.models.manifest import SCORES
from swapstream.models.store import Store
from swapstream.scripts.arrays import read_sample
from swapstream.scripts.code import code_option
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.files import Columns, file_options, read_telemetry
from swapstream.scripts.models import COLUMNS, row_of
from swapstream.scripts.training import Input, input_of, rows_of

Setting = int | float | str

_new = [
    click.option("--version", type=click.IntRange(min=1), help="Its version.  [default: the next one of this name in the store]"),
    click.option("--plan", type=click.Path(), help="Take schema and extractor from this plan."),
    click.option("--schema", help="Schema: a name in conf/schemas/ or a YAML file; with --plan, which of its schemas."),
    click.option("--extractor", "extractors", multiple=True, help='As in "ewm(halflife=20)"; may be repeated.  [default: identity]'),
    code_option,
    click.option("--alarm-rate", type=click.FloatRange(0, 1, max_open=True),
                 help="Share of the given rows that may lie above the threshold. [0.001; rules: threshold 0]"),
    click.option("--threshold", type=float, help="Threshold, instead of one calibrated on the given rows."),
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
                  version: int | None, plan: str | None, schema: str | None, extractors: Sequence[str], code: Sequence[str],
                  alarm_rate: float | None, threshold: float | None, seed: int, as_json: bool) -> None:
    """Fit a model of KIND to the telemetry in FILE (CSV or Parquet) and put it into the store.

    `swapstream models kinds` shows the kinds and their settings. The features are those that the plan's, or the given,
    extractor yields; readings that are still warming are left out, and, unless the kind learns from them, those that are
    labelled as anomalies. The threshold is the smallest that at most --alarm-rate of the other rows exceed.
    """
    from swapstream.models.build import train

    given = input_of(plan, schema, extractors, code)
    if given is None:
        raise InvalidSettings("train needs the fields of the telemetry: give --schema or --plan")
    store = Store(load_environment(environment).store)
    number, parent = _version(store, name, version)
    settings = dict(map(_setting, options))
    telemetry = read_telemetry(file, given.schema.names, columns)
    rows = rows_of(telemetry, given.extractor)
    used = len(rows.features)
    if rows.labels is not None and not kind_of(kind).LABELS:
        used -= int(rows.labels.sum())
    made = lineage(data=[msgspec.structs.replace(telemetry.source, rows=used)], seed=seed, settings=settings, parent=parent,
                   extractor=given.extractor.ref)
    artifact = train(kind, rows.features, given.extractor.features, name=name, version=number, labels=rows.labels,
                     threshold=threshold, alarm_rate=alarm_rate, shape=given.extractor.shape, seed=seed, settings=settings,
                     lineage=made)
    _keep(store, artifact, as_json)


@click.command("pack")
@click.argument("model", type=click.Path())
@click.option("--sample", required=True, type=click.Path(), help="Typical rows: a .npy file of shape (rows, features) or (rows, T, F).")
@click.option("--name", help="Name of the model.  [default: the file's]")
@click.option("--features", help="Names of the features in the order of the columns, with commas; or give --plan or --schema.")
@click.option("--score", type=click.Choice(SCORES), help="How the output becomes the score: greater is more abnormal.  [default: output]")
@click.option("--output", help="Output of the graph that is read.  [default: the only one of floating point]")
@click.option("--column", type=click.IntRange(min=0), help="Column of that output: a classifier's probability of this class.")
@_making
@click.pass_obj
def pack_command(environment: str, model: str, sample: str, name: str | None, features: str | None, score: str | None,
                 output: str | None, column: int | None, version: int | None, plan: str | None, schema: str | None,
                 extractors: Sequence[str], code: Sequence[str], alarm_rate: float | None, threshold: float | None, seed: int,
                 as_json: bool) -> None:
    """Make an artifact of the ONNX graph in MODEL and put it into the store.

    The graph takes all features as one input, [n, F] or [n, 1, F], or windows [n, T, F], and yields a score a row, the
    probabilities of classes (--column says of which), or, with --score reconstruction_error, the row rebuilt. An outlier
    detector converted by skl2onnx is recognised, and its score negated.
    """
    from swapstream.models.build import pack

    name = name or re.sub(r"[^a-z0-9._-]+", "-", Path(model).stem.lower())
    store = Store(load_environment(environment).store)
    number, parent = _version(store, name, version)
    rows = read_sample(sample)
    given = input_of(plan, schema, extractors, code)
    names = _names(features, given)
    made = lineage(data=[file_source(sample, len(rows))], seed=seed, parent=parent,
                   extractor=given.extractor.ref if given else None)
    artifact = pack(model, rows, names, name=name, version=number, score=score, output=output, column=column,
                    threshold=threshold, alarm_rate=alarm_rate, shape=given.extractor.shape if given and rows.ndim == 2 else (),
                    seed=seed, lineage=made)
    _keep(store, artifact, as_json)
    if names is None:
        say("the features are called x0, x1, …: a plan's extractor must yield these names, else give --features, --plan or --schema")


def _version(store: Store, name: str, version: int | None) -> tuple[int, str | None]:
    """The version to make, and the newest one that is there already: its parent."""
    there = store.versions(name)
    return version or store.next_version(name), f"{name}:{there[-1]}" if there else None


def _keep(store: Store, artifact: Artifact, as_json: bool) -> None:
    store.put(artifact)
    show([row_of(artifact, as_json)], COLUMNS, as_json)


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


def _names(features: str | None, given: Input | None) -> tuple[str, ...] | None:
    """Names of the columns: as given, or as an extractor yields them; None: x0, x1 and so on."""
    if features is not None and given is not None:
        raise InvalidSettings("--features names the columns, and so does --plan or --schema: give one")
    if features is not None:
        return tuple(name.strip() for name in features.split(","))
    if given is not None:
        return given.extractor.features
    return None
