"""What a deployment put into `scores`, as Parquet files by day."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow

from swapstream.operators.frame import Int64
from swapstream.operators.scored import DECIDING
from swapstream.operators.scores import RoleColumns, ScoresFrame, decode_scores
from swapstream.scripts.environment import Environment
from swapstream.scripts.exports import Writer
from swapstream.scripts.kafka import partition_count
from swapstream.scripts.reading import Reading

COLUMNS = {
    "topic": pyarrow.string(), "partition": pyarrow.int32(), "offset": pyarrow.int64(), "index": pyarrow.int32(),
    "device": pyarrow.string(), "time": pyarrow.timestamp("us", "UTC"), "epoch": pyarrow.int64(), "plan": pyarrow.string(),
    "role": pyarrow.string(), "model": pyarrow.string(), "score": pyarrow.float64(), "threshold": pyarrow.float64(),
    "error": pyarrow.string(), "warming": pyarrow.bool_(), "anomalous": pyarrow.bool_(),
}  # fmt: skip
"""A row for each reading and role; `score` is null where the model failed, `error` where it did not."""


def write_answers(environment: Environment, deployment: str, writer: Writer) -> int:
    """Everything of a deployment in the environment's topic of scores; returns how many files that made. Raises ClusterError, OSError."""
    topic = environment.topics.scores.name
    for partition in range(partition_count(environment, topic)):
        for frame in frames_of(environment, topic, partition, deployment):
            for role in frame.roles:
                table, times = table_of(frame, role)
                writer.add(partition, table, times)
    return writer.finish_alone()


def frames_of(environment: Environment, topic: str, partition: int, deployment: str) -> Iterator[ScoresFrame]:
    with Reading(environment, topic, "earliest", {partition}) as reading:
        for record in iter(reading.next, None):
            frame = decode_scores(record.value or b"")
            if frame.provenance.deployment == deployment:
                yield frame


def table_of(frame: ScoresFrame, role: RoleColumns) -> tuple[pyarrow.Table, Int64]:
    """One role's rows of a message, and their event times (µs)."""
    rows = np.frombuffer(role.rows, "<i4") if role.rows else np.arange(len(frame), dtype="<i4")
    scores = np.frombuffer(role.scores, "<f8")
    where, n = frame.provenance, len(rows)
    errors = [role.errors.get(place) for place in range(n)] if role.errors else [None] * n
    failed = np.array([error is not None for error in errors], np.bool_)
    codes = np.frombuffer(frame.device, "<i4")[rows]
    times = frame.column("times")[rows]
    decided = role.role in DECIDING
    columns = {
        "topic": [where.topic] * n, "partition": np.full(n, where.partition), "offset": frame.column("offsets")[rows],
        "index": frame.column("index")[rows], "device": pyarrow.array(frame.devices, pyarrow.string()).take(pyarrow.array(codes)),
        "time": times, "epoch": np.full(n, where.epoch), "plan": [where.plan] * n, "role": [role.role] * n, "model": [role.model] * n,
        "score": pyarrow.array(scores, mask=failed), "threshold": np.full(n, role.threshold), "error": errors,
        "warming": np.frombuffer(frame.warming, "?")[rows],
        "anomalous": np.frombuffer(frame.anomalous, "?")[rows] & ~failed & decided,
    }  # fmt: skip
    return pyarrow.table({name: pyarrow.array(columns[name]).cast(kind) for name, kind in COLUMNS.items()}), times
