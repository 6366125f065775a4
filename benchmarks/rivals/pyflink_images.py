"""PyFlink in the usual style, one element per record: KafkaSource ─> map with ONNX Runtime ─> exactly-once KafkaSink.

No key and no state, since none is needed. This is what Crayfish calls Flink with embedded ONNX and batch size 1.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from pyflink.datastream import MapFunction, RuntimeContext

from benchmarks.rivals.arithmetic import encoder, quiet_collector
from benchmarks.rivals.job import Job
from benchmarks.rivals.pyflink_kafka import binary, environment, job_argument, read, write


class Score(MapFunction):  # type: ignore[misc]
    """An image to a score."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def open(self, runtime_context: RuntimeContext) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session: Any = onnxruntime.InferenceSession(self.job.graph, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        image: Any = msgspec.defstruct("Image", [("id", str), ("ts", bytes), ("v", bytes)], gc=False)
        self.decode, self.encode = msgspec.msgpack.Decoder(image).decode, encoder()
        quiet_collector()

    def map(self, value: bytes) -> bytes:
        image = self.decode(value)
        pixels = np.frombuffer(image.v, "<f4").reshape(1, 1, -1)
        score = float(self.session.run(None, {self.input: pixels})[0][0, 0])
        when = int.from_bytes(image.ts, "little")
        return self.encode((image.id, when, score, score > self.job.threshold))


if __name__ == "__main__":
    job = job_argument()
    env = environment(job)
    write(read(env, job).map(Score(job), binary()), job)
    env.execute_async(job.group)
