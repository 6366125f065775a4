"""PyFlink in the usual style, one element per record: KafkaSource ─> key_by(device) ─> KeyedProcessFunction with state per
device ─> exactly-once KafkaSink.

Fast within that style: msgspec decodes, the key selector reads the device only, state is one value of packed floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, KeySelector, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from benchmarks.rivals.arithmetic import Packed, Step, decoder, encoder, key_decoder, quiet_collector
from benchmarks.rivals.job import Job
from benchmarks.rivals.pyflink_kafka import binary, environment, job_argument, read, write


class Device(KeySelector):  # type: ignore[misc]
    """The device of a reading."""

    decode: Any = None

    def get_key(self, value: bytes) -> str:
        if self.decode is None:
            self.decode = key_decoder()
        return str(self.decode(value).id)


class Score(KeyedProcessFunction):  # type: ignore[misc]
    """A reading and its device's state to a score."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        self.step = Step(self.job)
        self.packed = Packed(self.step.width)
        self.decode, self.encode = decoder(self.step.width), encoder()
        self.state = runtime_context.get_state(ValueStateDescriptor("device", binary()))
        quiet_collector()

    def process_element(self, value: bytes, ctx: Any) -> Iterator[bytes]:
        reading = self.decode(value)
        state, score, anomalous = self.step(self.packed.unpack(self.state.value()), reading.v)
        self.state.update(self.packed.pack(state))
        yield self.encode((reading.id, reading.ts, score, anomalous))


if __name__ == "__main__":
    job = job_argument()
    env = environment(job)
    write(read(env, job).key_by(Device(), Types.STRING()).process(Score(job), binary()), job)
    env.execute_async(job.group)
