"""`swapstream ledger`: what happened to deployments, as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import islice

import click
import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.scripts.environment import load_environment
from swapstream.scripts.follow import EPOCH, Columns, Row, follow_options, print_rows, rows, start_of


def ledger_rows(value: bytes) -> Iterator[Row]:
    """The one row of a message of the ledger. Raises InvalidDefinition."""
    try:
        row = msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise InvalidDefinition(f"not a ledger row: {error}") from error
    if not isinstance(row, dict) or not {"event", "namespace", "deployment", "time"} <= row.keys():
        raise InvalidDefinition("not a ledger row: it lacks event, namespace, deployment or time")
    yield row


def _moment(row: Row) -> str:
    return (EPOCH + timedelta(milliseconds=row["time"])).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _place(row: Row) -> str:
    return "" if row.get("partition") is None else f"{row['partition']}:{row.get('offset', '')}"


def _plan(row: Row) -> str:
    return str(row.get("plan_name") or str(row.get("plan") or "")[:12])


def _reason(row: Row) -> str:
    """Or what a worker computes with."""
    if isinstance(libraries := row.get("libraries"), dict):
        return ", ".join([*(f"{name} {version}" for name, version in libraries.items()), str(row.get("processor"))])
    return str(row.get("reason") or "")


COLUMNS: Columns = {
    "time": (23, _moment),
    "deployment": (20, lambda row: f"{row['namespace']}/{row['deployment']}"),
    "event": (11, lambda row: str(row["event"])),
    "gen": (3, lambda row: str(row.get("generation") or "")),
    "offset": (12, _place),
    "epoch": (5, lambda row: str(row.get("epoch", ""))),
    "plan": (12, _plan),
    "ms": (7, lambda row: "" if row.get("took_ms") is None else f"{row['took_ms']:.1f}"),
    "by": (20, lambda row: str(row.get("who") or "")),
    "reason": (0, _reason),
}


@click.command("ledger")
@click.option("--deployment", help="Only what happened to this one.")
@follow_options
@click.pass_obj
def ledger_command(name: str, deployment: str | None, wait: bool, limit: int | None, start: str | None, as_json: bool) -> None:
    """Show what happens to deployments: proposed, prepared, refused, accepted, activated, rejected, holding, released, aborted; of jobs
    that take over, by their generation: forked, restored, retired; of workers what they are computing with."""
    environment = load_environment(name)
    found = rows(environment, environment.topics.ledger.name, ledger_rows, start_of(start, wait), wait)
    mine = (row for row in found if deployment in (None, row["deployment"]))
    with suppress(KeyboardInterrupt):
        print_rows(islice(mine, limit), COLUMNS, as_json)
