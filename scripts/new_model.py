"""What the commands that make models share: their options, the version that is made, and how it gets into the store."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict
from swapstream.models.manifest import SCORES
from swapstream.models.store import Store
from swapstream.scripts.code import code_option
from swapstream.scripts.console import json_option

TRIES = 20

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



_graph = [
    click.option("--score", type=click.Choice(SCORES),
                 help="How the output becomes the score: greater is more abnormal.  [default: output; an estimator's is known]"),
    click.option("--output", help="Output of the graph that is read.  [default: the only one of floating point]"),
    click.option("--column", type=click.IntRange(min=0), help="Column of that output: a classifier's probability of this class."),
]


def new_model_options(command: Any) -> Any:
    """The options that train and pack share."""
    for option in reversed(_new):
        command = option(command)
    return command


def graph_options(command: Any) -> Any:
    """What is to be said of a graph that isn't ours."""
    for option in reversed(_graph):
        command = option(command)
    return command


def next_version(store: Store, name: str, version: int | None) -> tuple[int, str | None]:
    """The version to make, and the newest one that is there already: its parent."""
    there = store.versions(name)
    return version or store.next_version(name), f"{name}:{there[-1]}" if there else None


def keep(store: Store, artifact: Artifact, fixed: bool) -> Artifact:
    """Put it into the store; unless its version is `fixed`, as the next one where somebody has taken that meanwhile.

    Raises Conflict, and Unavailable where the store can't be written.
    """
    for _ in range(TRIES):
        try:
            store.put(artifact)
            return artifact
        except Conflict:
            if fixed:
                raise
            manifest = msgspec.structs.replace(artifact.manifest, version=store.next_version(artifact.manifest.name))
            artifact = msgspec.structs.replace(artifact, manifest=manifest)
    raise Conflict(f"model {artifact.manifest.name!r}: others took {TRIES} versions in a row; try again")
