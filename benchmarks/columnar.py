"""`python -m benchmarks.columnar`: detect against the bare limit on messages of 500 readings each."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import report
from benchmarks.candidates import Detect
from benchmarks.cluster import directory
from benchmarks.contest import contest, options
from benchmarks.frames import Frames
from benchmarks.processes import Bare

GOALS = {"bare loop": 0.4}


@click.command()
@click.option("--records", default=20_000_000, show_default=True, type=click.IntRange(50_000), help="Readings in each contest.")
@options
@report.options
def main(records: int, repeat: int, warm_ups: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """One contest without state, where nothing is done but moving, decoding and a z-score, and one with the means and
    deviations of 4,000 devices; exits with 1 when detect reaches less than 40 % of the bare loop in either."""
    results = []
    with directory(keep) as path:
        for stateful in (False, True):
            work = Frames(stateful)
            results.append(contest(path / str(stateful), work, [Detect(records), Bare(records)], GOALS, repeat, warm_ups))
    report.tables(results)
    report.write_json(json_file, goals=GOALS, contests=results)
    report.bars(plot, results)
    report.verdict(report.missed_goals(results))


if __name__ == "__main__":
    report.run(main)
