"""`python -m benchmarks.devices`: detect's throughput with 100,000 live devices against 1,000."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import report
from benchmarks.candidates import Detect
from benchmarks.cluster import directory
from benchmarks.contest import contest, options
from benchmarks.readings import Readings
from swapstream.scripts.console import show

GOAL = 0.5


@click.command()
@click.option("--records", default=2_000_000, show_default=True, type=click.IntRange(20_000), help="Readings in each run.")
@click.option("--few", default=1_000, show_default=True, type=click.IntRange(1), help="Devices in the first run.")
@click.option("--many", default=100_000, show_default=True, type=click.IntRange(1), help="Devices in the second run.")
@options
@report.options
def main(records: int, few: int, many: int, repeat: int, warm_ups: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure, each on a cluster of its own; devices send in turn, so that with many hardly any is twice in a frame. Exits
    with 1 when many devices halve the rate."""
    with directory(keep) as path:
        results = [contest(path / str(count), Readings(count), [Detect(records)], {}, repeat, warm_ups) for count in (few, many)]
    rates = [result.rows[0].rate for result in results]
    share = rates[1] / rates[0]
    show([{"devices": f"{count:,}", "readings": f"{result.rows[0].readings:,}", "readings/s": f"{rate:,.0f}",
           "second half": f"{result.rows[0].steady_rate:,.0f}", "of the first": f"{rate / rates[0]:.2f}"}
          for count, result, rate in zip((few, many), results, rates, strict=True)],
         ["devices", "readings", "readings/s", "second half", "of the first"], False, "detect, exactly once")
    report.write_json(json_file, goal=GOAL, share=share, contests=results)
    report.bars(plot, results)
    report.verdict([f"{many:,} devices leave {share:.2f} of the rate with {few:,}, not {GOAL:g}"] if share < GOAL else [])


if __name__ == "__main__":
    report.run(main)
