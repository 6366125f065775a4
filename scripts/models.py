"""`swapstream models`: the models in the store, what became of them, their numbers, and the kinds there are."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.expression_tokens import filled
from swapstream.models.index import REMOVED, Row, every
from swapstream.models.index import row_of as index_row
from swapstream.models.kinds import KINDS
from swapstream.models.numbers import numbers
from swapstream.models.store import Store
from swapstream.scripts.arrays import write_parameters
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.model_gc import gc_command
from swapstream.scripts.model_history import history_command
from swapstream.scripts.model_mlflow import from_mlflow_command, to_mlflow_command

COLUMNS = ("model", "kind", "features", "threshold", "alarm_rate", "bitwise", "digest", "created", "parent")


@click.group("models")
def models_command() -> None:
    """Show the models in the store, what became of them, their numbers, and the kinds there are."""


models_command.add_command(history_command)
models_command.add_command(gc_command)
models_command.add_command(to_mlflow_command)
models_command.add_command(from_mlflow_command)


@models_command.command("list")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def list_command(environment: str, name: str | None, as_json: bool) -> None:
    """Every version of every model, or of NAME."""
    rows = [row for row in every(Store(load_environment(environment).store)) if name in (None, row.name)]
    show((shown(row, as_json) for row in rows if not row.problem), COLUMNS, as_json)
    for row in rows:
        if row.problem not in ("", REMOVED):
            say(f"{row.ref}: {row.problem}")
    if removed := sum(row.problem == REMOVED for row in rows):
        say(f"{removed} more versions were removed as unused")


@models_command.command("diff")
@click.argument("before")
@click.argument("after")
@json_option
@click.pass_obj
def diff_command(environment: str, before: str, after: str, as_json: bool) -> None:
    """What is different in model AFTER from model BEFORE: manifest, lineage, training rows, numbers."""
    from swapstream.scripts.model_diff import diff

    store = Store(load_environment(environment).store)
    show(diff(store.get(before), store.get(after)), ("part", "before", "after"), as_json)


@models_command.command("show")
@click.argument("model")
@json_option
@click.pass_obj
def show_command(environment: str, model: str, as_json: bool) -> None:
    """The manifest of MODEL: a name, for its newest version, or name:version."""
    artifact = Store(load_environment(environment).store).get(model)
    manifest = msgspec.to_builtins(artifact.manifest) | {"digest": artifact.digest} | _rules(artifact)
    if as_json:
        show([manifest], (), True)
        return
    parts = ("lineage", "reference", "structure")
    flat = {**manifest, **{f"{part}.{key}": value for part in parts for key, value in manifest.get(part, {}).items()}}
    show(({"field": key, "value": value} for key, value in flat.items() if key not in parts),
         ("field", "value"), False, title=artifact.ref)  # fmt: skip


@models_command.command("kinds")
@json_option
def kinds_command(as_json: bool) -> None:
    """The kinds that `train` fits, and the settings of each."""
    rows = [
        {"kind": kind.NAME, "setting": setting, "means": means}
        for kind in KINDS.values()
        for setting, means in (kind.SETTINGS or {"": "no settings"}).items()
    ]
    show(rows, ("kind", "setting", "means"), as_json)


@models_command.command("params")
@click.argument("model")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
@click.pass_obj
def params_command(environment: str, model: str, file: str, as_json: bool) -> None:
    """Write the numbers of MODEL to FILE (.npz): what `push MODEL --params` takes, to be changed."""
    artifact = Store(load_environment(environment).store).get(model)
    found = numbers(artifact)
    write_parameters(file, found)
    rows = [
        {"model": artifact.ref, "parameter": name, "dtype": str(array.dtype), "shape": list(array.shape)}
        for name, array in found.items()
    ]
    show(rows, ("parameter", "dtype", "shape"), as_json, title=artifact.ref)


def row_of(artifact: Artifact, whole: bool) -> dict[str, Any]:
    """What is shown of an artifact that was made just now."""
    return shown(index_row(artifact), whole) | {"metrics": artifact.manifest.lineage.metrics}


def shown(row: Row, whole: bool) -> dict[str, Any]:
    """What is shown of a version; `whole`: every digit, as scripts want them."""
    return {
        "model": row.ref,
        "kind": row.kind,
        "features": row.features,
        "threshold": row.threshold if whole else f"{row.threshold:.6g}",
        "alarm_rate": row.alarm_rate,
        "bitwise": row.bitwise,
        "digest": row.digest if whole else row.digest[:12],
        "created": row.created,
        "author": row.author,
        "rows": row.rows,
        "parent": row.parent,
    }


def _rules(artifact: Artifact) -> dict[str, Any]:
    """Rules with their numbers filled in."""
    texts = artifact.manifest.words.get("rules")
    if not isinstance(texts, tuple):
        return {}
    return {"rules": filled(texts, artifact.parameters["numbers"].tolist() if "numbers" in artifact.parameters else [])}
