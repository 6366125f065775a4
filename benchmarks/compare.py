"""`python -m benchmarks.compare`: detect, the bare limit and three rivals on the same single readings."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import report
from benchmarks.arena import Candidate
from benchmarks.candidates import DEFAULTS, RAISED, Detect, PyFlink
from benchmarks.cluster import directory
from benchmarks.contest import contest
from benchmarks.processes import Bare, Rival
from benchmarks.readings import Readings

GOALS = {"PyFlink per record, raised": 15.0, "Bytewax": 4.0, "Quix Streams": 6.0, "bare loop": 1.2}
SCRIPT = "pyflink_readings.py"


@click.command()
@click.option("--records", default=4_000_000, show_default=True, type=click.IntRange(20_000),
              help="Readings for detect and the bare loop.")
@click.option("--rival-records", default=600_000, show_default=True, type=click.IntRange(5_000),
              help="Readings for Bytewax and Quix Streams; PyFlink gets a third.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1), help="Runs of each candidate, in turns.")
@report.options
def main(records: int, rival_records: int, repeat: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure all of them in one run; exits with 1 when detect misses a goal."""
    rival_records = min(rival_records, records)
    slow = rival_records // 3
    candidates: list[Candidate] = [
        Detect(records),
        Bare(records),
        PyFlink("PyFlink per record, defaults", slow, SCRIPT, DEFAULTS),
        PyFlink("PyFlink per record, raised", slow, SCRIPT, RAISED),
        Rival("Bytewax", rival_records, "bytewax", 1),
        Rival("Quix Streams", rival_records, "quix", 2),
    ]
    with directory(keep) as path:
        result = contest(path, Readings(), candidates, GOALS, repeat)
    report.tables([result])
    report.write_json(json_file, goals=GOALS, contests=[result])
    report.bars(plot, [result])
    report.verdict(report.missed_goals([result]))


if __name__ == "__main__":
    report.run(main)
