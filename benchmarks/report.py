"""What a benchmark says: a table on stdout, JSON, and a picture."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from benchmarks.contest import Result
from swapstream.models.errors import SwapstreamError
from swapstream.operators.computing import first_processor
from swapstream.operators.frame import Float64, Int64
from swapstream.scripts.console import out, say, show
from swapstream.scripts.figure import blank, save

COLUMNS = ["candidate", "readings", "readings/s", "second half", "min", "max", "detect is faster by", "goal"]


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json, --plot and --keep, which every benchmark has."""
    for option in (
        click.option("--keep", is_flag=True, help="Keep the directory with its logs."),
        click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it; needs matplotlib (extra `plot`)."),
        click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write everything here."),
    ):
        command = option(command)
    return command


def write_json(file: Path | None, **content: Any) -> None:
    """The figures with what they were measured on."""
    if file:
        machine = {"cores": os.cpu_count(), "cpu": cpu(), "python": platform.python_version()}
        file.write_bytes(msgspec.json.format(msgspec.json.encode({**content, "machine": machine})))


def cpu() -> str:
    """The processor's name, where Linux tells."""
    return first_processor().get("model name", platform.processor())


def tables(results: Sequence[Result]) -> None:
    """A table for each contest."""
    for result in results:
        title = f"{result.title}: {result.bytes:,.0f} bytes a message, exactly once, {os.cpu_count()} cores"
        show([_row(row) for row in result.rows], COLUMNS, False, title)


def _row(row: Any) -> dict[str, str]:
    return {"candidate": row.candidate, "readings": f"{row.readings:,}", "readings/s": f"{row.rate:,.0f}",
            "second half": f"{row.steady_rate:,.0f}", "min": f"{min(row.rates):,.0f}", "max": f"{max(row.rates):,.0f}",
            "detect is faster by": f"{row.ratio:.2f} x", "goal": f"{row.goal:g} x" if row.goal else ""}


def verdict(missed: Sequence[str]) -> None:
    """Say which goals were missed, and end: with 1 if there are any."""
    out.print("missed: " + "; ".join(missed) if missed else "every goal is reached")
    raise SystemExit(1 if missed else 0)


def missed_goals(results: Sequence[Result]) -> list[str]:
    return [f"{row.ratio:.2f} x {row.candidate}, not {row.goal:g} ({result.title})"
            for result in results for row in result.rows if row.missed]


def bars(file: Path | None, results: Sequence[Result]) -> None:
    """Readings/s of every candidate, a panel for each contest."""
    if file:
        figure = blank(len(results))
        for panel, result in zip(figure.subplots(len(results), 1, squeeze=False)[:, 0], results, strict=True):
            names = [row.candidate for row in result.rows]
            drawn = panel.barh(names, [row.rate for row in result.rows], color=["tab:blue", *["tab:gray"] * len(names)])
            panel.bar_label(drawn, [f" {row.rate:,.0f}  ({row.ratio:.1f} x)" for row in result.rows])
            panel.invert_yaxis()
            panel.margins(x=0.25)
            panel.set_title(result.title, loc="left")
            panel.set_xlabel("readings/s (how many times as fast detect is)")
        save(figure, file)


def by_second(panel: Any, second: Int64, waited: Float64) -> None:
    """Percentiles of what was waited (ms [n]) in each second ([n])."""
    shown = np.unique(second)
    for each in (50, 99):
        panel.plot(shown, [np.percentile(waited[second == at], each) for at in shown], label=f"p{each}")
    panel.set(xlabel="second", ylabel="ms from produced to consumed", ylim=0)
    panel.legend()


def run(command: Callable[[], Any]) -> None:
    """A benchmark's command; what Swapstream refuses is one line."""
    try:
        command()
    except SwapstreamError as error:
        say(str(error))
        sys.exit(error.exit_code)
