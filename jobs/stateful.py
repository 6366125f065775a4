"""Which operators of `detect` have state, by uid: a savepoint has these and no others. No Flink here; uids.py gives the uids."""

from __future__ import annotations

OUTPUT_SINK = "output-sink"


def sink_uid(line: int) -> str:
    """Of the output's sink of a line of jobs."""
    return f"{OUTPUT_SINK}-{line}" if line else OUTPUT_SINK


def stateful_uids(line: int = 0) -> frozenset[str]:
    """Of a job of this line."""
    return frozenset({"telemetry-source", "telemetry-windowaggregate", "parameters-source", "shard", "ledger-sink", sink_uid(line)})
