"""Bytewax: KafkaSource ─> stateful_map by device ─> KafkaSink, state in memory, no recovery.

Fast within that style: decoding and encoding go batch by batch (`flat_map_batch`), Kafka's key is not used, since the items are
keyed again anyway.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource  # type: ignore[import-not-found]
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.run import cli_main  # type: ignore[import-not-found]

from benchmarks.rivals.arithmetic import State, Step, decoder, encoder, quiet_collector
from benchmarks.rivals.job import Job

BATCH = 5_000


def flow(job: Job) -> Any:
    """The dataflow; it ends when the topic does."""
    step = Step(job)
    decode, encode = decoder(step.width), encoder()

    def keyed(messages: list[Any]) -> Iterator[tuple[str, Any]]:
        for message in messages:
            reading = decode(message.value)
            yield reading.id, (reading.id, reading.ts, reading.v)  # a tuple, since it may go to another process

    def score(state: State | None, reading: tuple[str, int, tuple[float, ...]]) -> tuple[State, tuple[str, int, float, bool]]:
        device, when, values = reading
        after, found, anomalous = step(state, values)
        return after, (device, when, found, anomalous)

    def encoded(items: list[tuple[str, Any]]) -> list[Any]:
        return [KafkaSinkMessage(None, encode(row)) for _, row in items]

    brokers, dataflow = [job.bootstrap], Dataflow("bench")
    source = KafkaSource(brokers, [job.source], tail=False, batch_size=BATCH, add_config={"isolation.level": "read_committed"})
    readings = op.flat_map_batch("decode", op.input("read", dataflow, source), keyed)
    scores = op.flat_map_batch("encode", op.stateful_map("score", readings, score), encoded)
    op.output("write", scores, KafkaSink(brokers, job.sink, {"compression.type": "lz4", **job.settings}))
    return dataflow


if __name__ == "__main__":
    job = Job.read(sys.argv[1])
    quiet_collector()
    if len(job.addresses) > 1:
        cli_main(flow(job), process_id=int(sys.argv[2]), addresses=job.addresses)
    else:
        cli_main(flow(job))
