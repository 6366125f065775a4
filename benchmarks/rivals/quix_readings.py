"""Quix Streams: topic ─> stateful apply by message key, which is the device ─> topic, exactly once, state in RocksDB and its
changelog topic, as is the default.

Fast within that style: one `apply` decodes, scores and encodes, state is one value of packed floats.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]

from benchmarks.rivals.arithmetic import Packed, Step, decoder, encoder, quiet_collector
from benchmarks.rivals.job import Job


def application(job: Job, process: str) -> Any:
    """The application; it runs until it is told to end."""
    step = Step(job)
    packed, decode, encode = Packed(step.width), decoder(step.width), encoder()

    def score(value: bytes, state: Any) -> bytes:
        reading = decode(value)
        after, found, anomalous = step(packed.unpack(state.get_bytes("device")), reading.v)
        state.set_bytes("device", packed.pack(after))
        return encode((reading.id, reading.ts, found, anomalous))

    app = Application(
        job.bootstrap, consumer_group=job.group, auto_offset_reset="earliest", processing_guarantee="exactly-once",
        commit_interval=job.checkpoint_ms / 1000, state_dir=Path(job.directory) / process, loglevel="WARNING",
        producer_extra_config={"compression.type": "lz4", **job.settings})
    frame = app.dataframe(app.topic(job.source, value_deserializer="bytes"))
    frame.apply(score, stateful=True).to_topic(app.topic(job.sink, value_serializer="bytes"))
    return app


if __name__ == "__main__":
    quiet_collector()
    application(Job.read(sys.argv[1]), sys.argv[2]).run()
