"""`swapstream models gc`: artifacts that nobody needs any more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import click
import msgspec

from swapstream.models import index
from swapstream.models.durations import milliseconds
from swapstream.models.errors import InvalidSettings
from swapstream.models.index import REMOVED, Row
from swapstream.models.store import Store, where
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment

COLUMNS = ("model", "digest", "created", "why")


class Unused(NamedTuple):
    """What can be removed: versions, and objects to which no name points."""

    rows: list[Row]
    objects: list[str]


@click.command("gc")
@click.option("--last", type=click.IntRange(1), default=10, show_default=True,
              help="Keep what the last so many plans of each deployment need.")
@click.option("--older-than", default="30d", show_default=True, help="Keep what was made or put there since.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@json_option
@click.pass_obj
def gc_command(environment: str, last: int, older_than: str, dry_run: bool, as_json: bool) -> None:
    """Remove the artifacts that nobody needs from the store. Names and lineage stay, so that a name never stands for something else.

    What stays: models of plans in force, of the last plans of each deployment, of savepoints and of retained checkpoints; the newest
    version of each name; what is not old enough; what is damaged, for somebody to look at. It needs the broker, which alone knows.
    """
    from swapstream.scripts.references import references

    settings = load_environment(environment)
    store = Store(settings.store)
    age = _age(older_than)
    rows = index.every(store)
    found = unused(store, rows, references(settings, last), time.time() - age)
    if not dry_run:
        kept = references(settings, last)  # somebody may have deployed one since
        found = Unused([row for row in found.rows if row.digest not in kept], [digest for digest in found.objects if digest not in kept])
        remove(store, rows, found)
    told: list[dict[str, Any]] = [{"model": row.ref, "digest": row.digest, "created": row.created, "why": "no plan needs it"}
                                  for row in found.rows]
    told += [{"model": None, "digest": digest, "created": None, "why": "no name points at it"} for digest in found.objects]
    show([row if as_json else row | {"digest": str(row["digest"])[:12]} for row in told], COLUMNS, as_json)
    say(f"{len(told)} of {len(rows) + len(found.objects)} artifacts {'would be' if dry_run else 'were'} removed")


def unused(store: Store, rows: list[Row], needed: Mapping[str, str], before: float) -> Unused:
    """What nobody needs and was there already `before` (s since 1970)."""
    newest = {row.name: row.version for row in rows}  # they come by version
    old = [
        row for row in rows
        if not row.problem and row.digest not in needed and row.version != newest[row.name] and _written(store, row.digest, row) < before
    ]  # fmt: skip
    named = {row.digest for row in rows} | {entry.digest for entry in _unread(store, rows)}
    loose = [digest for digest in sorted(store.folder.names("objects")) if digest not in named and digest not in needed]
    return Unused(old, [digest for digest in loose if _written(store, digest, None) < before])


def remove(store: Store, rows: list[Row], found: Unused) -> None:
    """Raises Unavailable; what was removed by then is gone, and doing it again goes on."""
    for digest in [*(row.digest for row in found.rows), *found.objects]:
        store.folder.remove(where(digest))
    gone = {row.ref for row in found.rows}
    index.write(store, [msgspec.structs.replace(row, problem=REMOVED) if row.ref in gone else row for row in rows])


def _unread(store: Store, rows: list[Row]) -> list[Row]:
    """Versions whose ref is damaged may point at anything: while there are some no object is loose."""
    return [msgspec.structs.replace(row, digest=digest) for row in rows if row.problem not in ("", REMOVED) and not row.digest
            for digest in store.folder.names("objects")]


def _written(store: Store, digest: str, row: Row | None) -> float:
    """When an object was put there; where the place doesn't say, when it was made, and if nobody knows that either, just now."""
    found = store.folder.modified(where(digest))
    if found is not None:
        return found
    try:
        return datetime.fromisoformat(row.created).timestamp() if row else time.time()
    except ValueError:
        return time.time()


def _age(text: str) -> float:
    """In seconds. Raises InvalidSettings."""
    try:
        return milliseconds(text) / 1_000
    except ValueError as error:
        raise InvalidSettings(f"--older-than: {error}") from error
