"""`swapstream models history`: a model's versions, where and when they were deployed, and how they scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from swapstream.models.errors import InvalidDefinition, UnknownName
from swapstream.models.index import every
from swapstream.models.store import Store
from swapstream.scripts.console import json_option, progress, show
from swapstream.scripts.environment import Environment, load_environment

if TYPE_CHECKING:
    from swapstream.operators.scores import ScoresFrame
    from swapstream.scripts.model_life import Ledger

COLUMNS = ("model", "created", "by", "parent", "deployment", "role", "epochs", "from", "to", "records", "alarm_rate", "p50", "p95", "p99",
           "precision", "recall")  # fmt: skip


@click.command("history")
@click.argument("name")
@click.option("--deployment", help="Only what became of it there.")
@json_option
@click.pass_obj
def history_command(environment: str, name: str, deployment: str | None, as_json: bool) -> None:
    """What became of the versions of NAME, or of NAME:VERSION: made by whom of what, deployed where and when, and how they scored.

    Out of the store, the ledger and `scores`, as far as these reach back: count, alarm rate and quantiles of the scores, and where
    anomalies are labelled, precision and recall over all readings; what nobody labelled counts as normal.
    """
    from swapstream.operators.scores import decode_scores
    from swapstream.scripts import kafka
    from swapstream.scripts.labels import read_labels
    from swapstream.scripts.model_life import deployed, is_of, rows, scored
    from swapstream.scripts.publish import read_definitions

    settings = load_environment(environment)
    made = {row.ref: row for row in every(Store(settings.store)) if is_of(row.ref, name)}
    definitions = read_definitions(settings)
    ledger = read_ledger(settings)
    with progress("messages of scores") as bar:
        task = bar.add_task(f"scores of {name}", total=None)

        def frames() -> Iterator[tuple[int, ScoresFrame]]:
            for record in kafka.read_to_end(settings, settings.topics.scores.name):
                bar.advance(task)
                with suppress(InvalidDefinition):
                    yield record.timestamp, decode_scores(record.value or b"")

        lives = scored(name, frames(), read_labels(settings))
    found = [row for row in rows(deployed(name, ledger, definitions), lives) if deployment in (None, row["deployment"])]
    if not made and not found:
        raise UnknownName(f"nobody has made or deployed a model {name!r}; `swapstream models list` shows what there is")
    there = {row["model"] for row in found}
    found = [{"model": ref} for ref in made if ref not in there and deployment is None] + found
    told = [row | _made(made.get(row["model"])) for row in sorted(found, key=lambda row: _version(row["model"]))]
    show(told if as_json else map(_short, told), COLUMNS, as_json, f"{name}")


def read_ledger(environment: Environment) -> Ledger:
    """All that the ledger tells, and the plans that deployments were submitted with from here. Raises ClusterError."""
    from swapstream.scripts import kafka
    from swapstream.scripts.deployments import Deployments
    from swapstream.scripts.ledger import ledger_rows
    from swapstream.scripts.model_life import Ledger
    from swapstream.scripts.submitted import submitted_plan

    ledger = Ledger()
    for record in kafka.read_to_end(environment, environment.topics.ledger.name):
        with suppress(InvalidDefinition):
            for row in ledger_rows(record.value or b""):
                ledger.take(row)
    for found in Deployments(environment):
        plan = submitted_plan(environment, found.namespace, found.name)
        if plan:
            ledger.add(found.namespace, found.name, 0, plan)
    return ledger


def _made(row: Any) -> dict[str, Any]:
    """How a version came to be, by the store's index; one that is not there (any more) was made by nobody knows whom."""
    if row is None:
        return {"created": None, "by": None, "parent": None}
    return {"created": row.created, "by": row.author, "parent": row.parent, "digest": row.digest, "problem": row.problem or None}


def _version(ref: str) -> tuple[str, int]:
    name, _, version = ref.partition(":")
    return name, int(version) if version.isdecimal() else 0


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """For people."""
    numbers = {key: f"{value:.4g}" for key, value in row.items() if isinstance(value, float)}
    times = {key: _moment(row[key]) for key in ("from", "to") if row.get(key) is not None}
    epochs = row.get("epochs") or []
    span = f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else str(epochs[0]) if epochs else ""
    return row | numbers | times | {"epochs": span, "created": (row["created"] or "")[:16]}


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
