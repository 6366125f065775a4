"""`swapstream pack`: an ONNX graph as a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from swapstream.models.errors import InvalidSettings
from swapstream.models.lineage import file_source, lineage
from swapstream.models.store import Store
from swapstream.scripts.arrays import read_sample
from swapstream.scripts.console import say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.models import COLUMNS, row_of
from swapstream.scripts.new_model import graph_options, keep, new_model_options, next_version
from swapstream.scripts.training import Input, input_of


@click.command("pack")
@click.argument("model", type=click.Path())
@click.option("--sample", required=True, type=click.Path(), help="Typical rows: a .npy file of shape (rows, features) or (rows, T, F).")
@click.option("--name", help="Name of the model.  [default: the file's]")
@click.option("--features", help="Names of the features in the order of the columns, with commas; or give --plan or --schema.")
@graph_options
@new_model_options
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
    number, parent = next_version(store, name, version)
    rows = read_sample(sample)
    given = input_of(plan, schema, extractors, code)
    names = _names(features, given)
    made = lineage(data=[file_source(sample, len(rows))], seed=seed, parent=parent,
                   extractor=given.extractor.ref if given else None)
    artifact = pack(model, rows, names, name=name, version=number, score=score, output=output, column=column,
                    threshold=threshold, alarm_rate=alarm_rate, shape=given.extractor.shape if given and rows.ndim == 2 else (),
                    seed=seed, lineage=made)
    artifact = keep(store, artifact, version is not None)
    show([row_of(artifact, as_json)], COLUMNS, as_json)
    if names is None:
        say("the features are called x0, x1, …: a plan's extractor must yield these names, else give --features, --plan or --schema")


def _names(features: str | None, given: Input | None) -> tuple[str, ...] | None:
    """Names of the columns: as given, or as an extractor yields them; None: x0, x1 and so on."""
    if features is not None and given is not None:
        raise InvalidSettings("--features names the columns, and so does --plan or --schema: give one")
    if features is not None:
        return tuple(name.strip() for name in features.split(","))
    if given is not None:
        return given.extractor.features
    return None
