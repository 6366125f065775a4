"""`python -m benchmarks.rekey`: how fast `swapstream rekey` works off a backlog."""

from __future__ import annotations

import time
from pathlib import Path

import click

from benchmarks import measure, report
from benchmarks.cluster import cluster, directory
from benchmarks.readings import Readings
from benchmarks.workload import PARTITIONS, SCHEMA, fill
from swapstream.models.errors import ClusterError
from swapstream.models.schema import Schema, load_schema
from swapstream.scripts.console import say, show
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.rekey import JOB, RekeySubmission
from swapstream.scripts.topics import admin

TARGET = "rekeyed"
LOOK_S = 0.1
TIMEOUT_S = 600.0


@click.command()
@click.option("--records", default=4_000_000, show_default=True, type=click.IntRange(20_000), help="Messages in the backlog.")
@click.option("--repeat", default=2, show_default=True, type=click.IntRange(1), help="Runs, of which the first doesn't count.")
@report.options
def main(records: int, repeat: int, json_file: Path | None, plot: Path | None, keep: bool) -> None:
    """Measure from when every task runs to the last message written, exactly once."""
    workload = Readings()
    with directory(keep) as path, cluster(path) as environment:
        workload.write(path)
        size = fill(environment, workload, records)
        schema = load_schema(path / SCHEMA)
        rates = [rate(environment, schema, f"{TARGET}-{turn}", records) for turn in range(repeat + 1)]
    show([{"messages": f"{records:,}", "messages/s": f"{found:,.0f}", "MB/s": f"{found * size / 1e6:.1f}"} for found in rates[1:]],
         ["messages", "messages/s", "MB/s"], False, f"rekey, exactly once, {size:.0f} bytes a message")  # fmt: skip
    report.write_json(json_file, rates=rates, size=size, records=records)


def rate(environment: Environment, schema: Schema, target: str, records: int) -> float:
    """Messages a second into a topic of its own. Raises ClusterError."""
    with admin(environment) as client:
        client.create_topics({target: {"num_partitions": PARTITIONS, "replication_factor": -1}})
        client.wait_for_topics([target])
    deployment = Deployment(environment.job.namespace, target, JOB, environment.job.parallelism)
    submission = RekeySubmission(environment, deployment, None, [schema], environment.topics.telemetry.name, target)
    submission.begin("earliest")
    flink, began, last, seen = FlinkCommandLine(environment), time.monotonic(), time.monotonic(), 0
    try:
        while seen < records:
            time.sleep(LOOK_S)
            if failure := flink.rest.exception(submission.job_id):
                raise ClusterError(f"rekey failed: {failure}")
            if (now := sum(measure.ends(environment, target).values())) > seen:
                seen, last = now, time.monotonic()
            if time.monotonic() > began + TIMEOUT_S:
                raise ClusterError(f"{seen} of {records} messages are written after {TIMEOUT_S:.0f} s")
    finally:
        flink.cancel(submission.job_id)
    found = records / (last - began)
    say(f"{target}: {found:,.0f} messages/s")
    return found


if __name__ == "__main__":
    report.run(main)
