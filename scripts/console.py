"""What every command prints with: a table for people or JSON lines for scripts on stdout, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

err = Console(stderr=True)
out = Console()
MANY = 200
"""Rows of a table, above which it is without lines."""

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool, title: str | None = None) -> None:
    """Print rows on stdout: with `as_json` one object a line and every key, else a table of `columns`."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=str))
        return
    cells = [["" if row.get(column) is None else str(row[column]) for column in columns] for row in rows]
    if len(cells) > MANY:
        plain(columns, cells)
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for line in cells:
        table.add_row(*line)
    out.print(table)


def plain(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them: rich takes a second for a thousand rows."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    click.echo("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in (columns, *cells)))


def say(message: str) -> None:
    """A line of progress on stderr."""
    err.print(message, highlight=False, soft_wrap=True)


def progress(unit: str = "records") -> Progress:
    """A progress bar where stderr is a terminal: use as a context manager, `add_task(description, total=…)`, `update`."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
                    TimeElapsedColumn(), TimeRemainingColumn(), console=err, disable=not err.is_terminal)
