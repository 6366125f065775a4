"""`swapstream models`: the models in the store, their numbers, and the kinds there are."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.expression_tokens import filled
from swapstream.models.kinds import KINDS
from swapstream.models.numbers import numbers
from swapstream.models.store import Store
from swapstream.scripts.arrays import write_parameters
from swapstream.scripts.console import json_option, show
from swapstream.scripts.environment import load_environment

COLUMNS = ("model", "kind", "features", "threshold", "alarm_rate", "bitwise", "digest")


@click.group("models")
def models_command() -> None:
    """Show the models in the store, their numbers, and the kinds there are."""


@models_command.command("list")
@json_option
@click.pass_obj
def list_command(environment: str, as_json: bool) -> None:
    """Every model and version."""
    store = Store(load_environment(environment).store)
    show((row_of(store.get(entry.ref), as_json) for entry in store.list()), COLUMNS, as_json)


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
        "rows": sum(source.rows for source in manifest.lineage.data if source.kind != "parameters"),
    }


def _rules(artifact: Artifact) -> dict[str, Any]:
    """Rules with their numbers filled in."""
    texts = artifact.manifest.words.get("rules")
    if not isinstance(texts, tuple):
        return {}
    return {"rules": filled(texts, artifact.parameters["numbers"].tolist() if "numbers" in artifact.parameters else [])}
