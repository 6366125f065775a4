"""`python -m benchmarks.compare`: detect, the bare limit and three rivals on the same single readings."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import report
from benchmarks.arena import Candidate
from benchmarks.candidates import DEFAULTS, RAISED, Detect, PyFlink
from benchmarks.cluster import directory
from benchmarks.contest import contest, options
from benchmarks.processes import Bare, Rival
from benchmarks.readings import Readings

GOALS = {"PyFlink per record, raised": 15.0, "Bytewax": 4.0, "Quix Streams": 6.0, "bare loop": 1.2}
SCRIPT = "pyflink_readings.py"


@click.command()
@click.option("--records", default=4_000_000, show_default=True, type=click.IntRange(20_000),
              help="Readings for detect and the bare loop.")
@click.option("--rival-records", default=600_000, show_default=True, type=click.IntRange(5_000),
              help="Readings for the rivals; PyFlink with its defaults gets a third.")
@options
@report.options
def main(records: int, rival_records: int, repeat: int, warm_ups: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure all of them in one run; exits with 1 when detect misses a goal."""
    rival_records = min(rival_records, records)
    candidates: list[Candidate] = [
        Detect(records),
        Bare(records),
        PyFlink("PyFlink per record, defaults", rival_records // 3, SCRIPT, DEFAULTS),
        PyFlink("PyFlink per record, raised", rival_records, SCRIPT, RAISED),
        Rival("Bytewax", rival_records, "bytewax", 1),
        Rival("Quix Streams", rival_records, "quix", 2),
    ]
    with directory(keep) as path:
        result = contest(path, Readings(), candidates, GOALS, repeat, warm_ups)
    report.tables([result])
    report.write_json(json_file, goals=GOALS, contests=[result])
    report.bars(plot, [result])
    report.verdict(report.missed_goals([result]))


if __name__ == "__main__":
    report.run(main)
