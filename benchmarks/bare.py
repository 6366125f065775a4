"""The bare limit: a loop around a Kafka consumer that decodes, extracts and scores batch by batch, in one process, with
Swapstream's own code and collector settings, and without any guarantee or output. `python -m benchmarks.bare JOB RESULT`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks.stages import Stages
from swapstream.models.artifact import Artifact
from swapstream.models.kinds import scorer
from swapstream.operators.collector import calm

PATIENCE_S = 30.0


class Job(msgspec.Struct, frozen=True):
    """Read `source` up to `stop` (partition → offset), `batch` messages at a time. `schema`, `model`: files."""

    bootstrap: str
    source: str
    stop: dict[int, int]
    schema: str
    extractor: list[Any]
    model: str
    batch: int


def loop(job: Job) -> tuple[Any, ...]:
    """Columns: when each reading was scored (ms), event times (µs), scores."""
    stages = Stages(Path(job.schema), job.extractor)
    score = scorer(Artifact.decode(Path(job.model).read_bytes())).score
    consumer = Consumer({"bootstrap.servers": job.bootstrap, "group.id": "bare", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "queued.max.messages.kbytes": 256 * 1024})
    consumer.assign([TopicPartition(job.source, partition, 0) for partition in job.stop])
    found, left = [], sum(job.stop.values())
    calm()
    while left:
        messages = consumer.consume(min(job.batch, left), PATIENCE_S)
        if not messages:
            raise TimeoutError(f"{left} messages of {job.source} did not come")
        left -= len(messages)
        frame, features, _ = stages.extract([message.value() for message in messages])
        scores = score(features)
        found.append((np.full(len(scores), time.time_ns() // 1_000_000), frame.times, scores))
    consumer.close()
    return tuple(map(np.concatenate, zip(*found, strict=True)))


if __name__ == "__main__":
    appended, times, scores = loop(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job))
    np.savez(sys.argv[2], appended=appended, times=times, scores=scores)
