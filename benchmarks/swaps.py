"""`python -m benchmarks.swaps`: what a swap costs while records flow, and the same change by a restart and by polling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks import report
from benchmarks.arena import Arena
from benchmarks.changing import target
from benchmarks.cluster import STAMPED, cluster, directory
from benchmarks.feeder import Timed
from benchmarks.large import versions
from benchmarks.listener import Heard
from benchmarks.loading import full_load
from benchmarks.measure import percentiles
from benchmarks.swaps_report import GOALS, Found, draw, latencies, missed, tables
from benchmarks.ways import DEVICES, NAME, Size, Stage, polled, restarted, swapped
from benchmarks.workload import PARTITIONS
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment
from swapstream.scripts.job import cancel

TOPICS = {"telemetry": {"name": "telemetry", "partitions": PARTITIONS},
          "scores": {"name": "scores", "partitions": PARTITIONS, "config": STAMPED},
          "ledger": {"name": "ledger", "partitions": 1, "config": STAMPED}}


@click.command()
@click.option("--swaps", default=100, show_default=True, type=click.IntRange(2), help="Barrier swaps in a row.")
@click.option("--rate", default=20_000, show_default=True, type=click.IntRange(100), help="Readings a second.")
@click.option("--every", default=2.5, show_default=True, type=click.FloatRange(1.5), help="Seconds from swap to swap, on average.")
@click.option("--warm-up", default=180, show_default=True, type=click.IntRange(1), help="Seconds before the first swap.")
@click.option("--model-mb", default=10, show_default=True, type=click.IntRange(1, 50), help="MB of the large ONNX model.")
@click.option("--fresh", default=10, show_default=True, type=click.IntRange(1), help="How many versions of it are swapped to.")
@click.option("--readings", default=1_200_000, show_default=True, type=click.IntRange(10_000),
              help="At full load: readings before prepare tokens, and behind them.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1),
              help="At full load: how often models are prepared, after a first time that does not count.")
@click.option("--at-once", default=1, show_default=True, type=click.IntRange(1), help="At full load: large models prepared at once.")
@click.option("--restarts", default=3, show_default=True, type=click.IntRange(0), help="Changes by stop-with-savepoint and restart.")
@click.option("--polls", default=10, show_default=True, type=click.IntRange(0), help="Changes by polling refresh.")
@click.option("--frame-ms", default=20, show_default=True, type=click.IntRange(1), help="How long a frame collects.")
@report.options
def main(frame_ms: int, json_file: Path | None, plot: Path | None, keep: bool, **size: Any) -> None:
    """Measure; exits with 1 when a goal is missed. Exactly once; the reader whose latency is measured reads uncommitted."""
    wanted = Size(**size)
    pace = {"frame_ms": frame_ms, "buffer_timeout_ms": 2, "bundle_ms": 5}
    with directory(keep) as path, cluster(path, topics=TOPICS, job=pace) as environment:
        found, heard = measured(environment, path, wanted)
        frames = environment.job.pace(environment.job.delivery)
    tables(found, wanted, frames)
    report.write_json(json_file, size=wanted, frames=frames, goals=GOALS, found=found, added_ms=found.latency.added,
                      drop_percent=found.load.drop)
    if plot:
        draw(plot, found, heard)
    report.verdict(missed(found))


def measured(environment: Environment, path: Path, size: Size) -> tuple[Found, Heard]:
    """One thing after the other, on one cluster."""
    arena = Arena.filled(environment, path, Timed(DEVICES), 0)
    models = versions(size.model_mb, tuple(arena.model.manifest.features), size.fresh + (size.rounds + 1) * size.at_once)
    fresh, rest = models[: size.fresh], models[size.fresh :]
    stage = Stage(arena, size, target(environment, path, arena.workload, "small", [arena.model]),
                  [target(environment, path, arena.workload, model.ref.replace(":", "-"), [model]) for model in fresh])
    batches = [target(environment, path, arena.workload, f"prepared-{number}", rest[number * size.at_once :][: size.at_once])
               for number in range(size.rounds + 1)]
    load = full_load(arena, NAME, batches, size.readings)
    say(f"full load: {load.plain:,.0f} readings/s, {load.preparing:,.0f} while models are prepared")
    swaps, heard, barrier = swapped(stage)
    ways = [barrier]
    if size.restarts:
        ways.append(restarted(stage, swaps))
    cancel(environment, NAME)
    if size.polls:
        ways.append(polled(stage))
    return Found(load, swaps, percentiles([swap.took_ms for swap in swaps]), latencies(heard, swaps, size.warm_up), ways), heard


if __name__ == "__main__":
    report.run(main)
