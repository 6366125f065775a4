"""Which operators of a job have state, by uid: a savepoint has these and no others. No Flink here; uids.py gives the uids."""

from __future__ import annotations

OUTPUT_SINK = "output-sink"


def sink_uid(line: int) -> str:
    """Of the output's sink of a line of jobs."""
    return f"{OUTPUT_SINK}-{line}" if line else OUTPUT_SINK


BESIDE_THE_SINK = {
    "detect": frozenset({"telemetry-source", "telemetry-windowaggregate", "parameters-source", "shard", "ledger-sink"}),
    "rekey": frozenset({"telemetry-source"}),
}


def stateful_uids(line: int = 0, job: str = "detect") -> frozenset[str]:
    """Of a job of this line."""
    return BESIDE_THE_SINK[job] | {sink_uid(line)}
