"""`python -m benchmarks.crayfish`: detect, the bare limit and PyFlink with Crayfish's model, one image a message."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import report
from benchmarks.arena import Candidate
from benchmarks.candidates import DEFAULTS, RAISED, Detect, PyFlink
from benchmarks.cluster import directory
from benchmarks.contest import contest, options
from benchmarks.images import Images
from benchmarks.processes import Bare

GOALS = {"PyFlink per record, raised": 10.0, "bare loop": 0.5}
SCRIPT = "pyflink_images.py"


@click.command()
@click.option("--model", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="An ONNX graph from [n, 1, 784] to [n, 10].  [default: one of the same shape is made]")
@click.option("--records", default=500_000, show_default=True, type=click.IntRange(5_000), help="Images for detect and the bare loop.")
@click.option("--rival-records", default=100_000, show_default=True, type=click.IntRange(2_000), help="Images for PyFlink.")
@options
@report.options
def main(model: Path | None, records: int, rival_records: int, repeat: int, warm_ups: int, json_file: Path | None, plot: Path | None,
         keep: bool) -> None:
    """Measure all of them in one run; exits with 1 when detect misses a goal."""
    rival_records = min(rival_records, records)
    candidates: list[Candidate] = [
        Detect(records),
        Bare(records),
        PyFlink("PyFlink per record, defaults", rival_records, SCRIPT, DEFAULTS),
        PyFlink("PyFlink per record, raised", rival_records, SCRIPT, RAISED),
    ]
    with directory(keep) as path:
        result = contest(path, Images(model), candidates, GOALS, repeat, warm_ups)
    report.tables([result])
    report.write_json(json_file, goals=GOALS, model=str(model or "made"), contests=[result])
    report.bars(plot, [result])
    report.verdict(report.missed_goals([result]))


if __name__ == "__main__":
    report.run(main)
