"""Polling refresh, as many services do it: two processes, a consumer each with half of the partitions, that look once a second
whether the model's file is another one and reload it then. State per device in memory, no recovery.

Plain processes and no framework, so that nothing but the polling is measured: they keep up with any rate that is asked of them.
"""

from __future__ import annotations

import array
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.rivals.arithmetic import State, Step, decoder, quiet_collector
from benchmarks.rivals.job import Job

BATCH = 1_000
PATIENCE_S = 0.02
TOKEN = 0xC1
"""What no reading begins with; other readers of the topic pass it over."""


class Model(msgspec.Struct, frozen=True):
    """The watched file: JSON. `version` grows."""

    version: int
    mean: list[float]
    deviation: list[float]


class Polling(msgspec.Struct, frozen=True):
    """What a process is told: partition → offset to start at, the file to watch, and how often, in seconds."""

    job: Job
    start: dict[int, int]
    watched: str
    every: float


class Refreshed:
    """The model in force; `look` reloads it when it is time to look and the file is another one."""

    def __init__(self, told: Polling) -> None:
        self.told, self._seen, self._due = told, -1, 0.0
        self.look()

    def look(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self.told.every
        changed = os.stat(self.told.watched).st_mtime_ns
        if changed != self._seen:
            model = msgspec.json.decode(Path(self.told.watched).read_bytes(), type=Model)
            self.step = Step(msgspec.structs.replace(self.told.job, mean=model.mean, deviation=model.deviation))
            self.version, self._seen = model.version, changed


def loop(told: Polling, number: int) -> None:
    """Score for ever: of each batch and partition one message (version, partition, offsets, scores)."""
    job, model, states = told.job, Refreshed(told), dict[str, State]()
    decode = decoder(model.step.width)
    consumer = Consumer({"bootstrap.servers": job.bootstrap, "group.id": job.group, "enable.auto.commit": False,
                         "isolation.level": "read_committed", "fetch.wait.max.ms": 10})
    mine = {partition: offset for partition, offset in told.start.items() if partition % job.parallelism == number}
    consumer.assign([TopicPartition(job.source, partition, offset) for partition, offset in mine.items()])
    producer = Producer({"bootstrap.servers": job.bootstrap, "linger.ms": 1, "compression.type": "lz4"})
    quiet_collector()
    while True:
        model.look()
        found: dict[int, tuple[Any, Any]] = {}
        for message in consumer.consume(BATCH, PATIENCE_S):
            value = message.value()
            if message.error() is not None or value[0] == TOKEN:
                continue
            reading = decode(value)
            states[reading.id], score, _ = model.step(states.get(reading.id), reading.v)
            offsets, scores = found.setdefault(message.partition(), (array.array("q"), array.array("d")))
            offsets.append(message.offset())
            scores.append(score)
        for partition, (offsets, scores) in found.items():
            encoded = msgspec.msgpack.encode((model.version, partition, offsets.tobytes(), scores.tobytes()))
            producer.produce(job.sink, encoded, partition=partition)
        producer.poll(0)


if __name__ == "__main__":
    loop(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Polling), int(sys.argv[2]))
