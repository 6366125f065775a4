"""The rival: a PyFlink job in the usual style, one element per record, that does the work of workload.py.

    KafkaSource ─> key_by(device) ─> KeyedProcessFunction with state per device ─> exactly-once KafkaSink

Written to be fast within that style: msgspec decodes, the key selector reads the device only, state is one value of packed
floats, the arithmetic is plain Python (numpy costs more than it gives on 8 numbers).
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema
from pyflink.datastream import KeyedProcessFunction, KeySelector, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)
from pyflink.datastream.state import ValueStateDescriptor


def binary() -> Any:
    return Types.PRIMITIVE_ARRAY(Types.BYTE())


class Device(KeySelector):  # type: ignore[misc]
    """The device of a reading, everything else passed over."""

    decode: Any = None

    def get_key(self, value: bytes) -> str:
        if self.decode is None:
            self.decode = msgspec.msgpack.Decoder(msgspec.defstruct("Key", [("id", str)], gc=False)).decode
        return str(self.decode(value).id)


class Score(KeyedProcessFunction):  # type: ignore[misc]
    """Values and their exponentially weighted mean and deviation before the reading; the largest |z| of them."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model

    def open(self, runtime_context: RuntimeContext) -> None:
        width = len(self.model["mean"]) // 3
        values = tuple[(float,) * width]  # type: ignore[misc]
        reading = msgspec.defstruct("Reading", [("id", str), ("ts", int), ("v", values)], gc=False)
        self.decode = msgspec.msgpack.Decoder(reading).decode
        self.encode = msgspec.msgpack.Encoder().encode
        self.packed = struct.Struct(f"<q{2 * width}d")
        self.width = width
        self.alpha = 1.0 - 2.0 ** (-1.0 / self.model["halflife"])
        self.warmup = math.ceil(2 * self.model["halflife"])
        self.moments = list(zip(self.model["mean"], self.model["deviation"], strict=True))
        self.state = runtime_context.get_state(ValueStateDescriptor("device", binary()))

    def process_element(self, value: bytes, ctx: Any) -> Iterator[bytes]:
        reading = self.decode(value)
        values = reading.v
        packed = self.state.value()
        if packed is None:
            count, mean, variance = 0, values, (0.0,) * self.width
        else:
            count, *both = self.packed.unpack(packed)
            mean, variance = both[: self.width], both[self.width :]
        features = (*values, *mean, *map(math.sqrt, variance))
        score = max(abs(x - centre) / scale for x, (centre, scale) in zip(features, self.moments, strict=True))
        steps = [(v - m, self.alpha * (v - m)) for v, m in zip(values, mean, strict=True)]
        keep = 1.0 - self.alpha
        self.state.update(self.packed.pack(
            count + 1,
            *(m + step for m, (_, step) in zip(mean, steps, strict=True)),
            *((s + d * step) * keep for s, (d, step) in zip(variance, steps, strict=True))))
        anomalous = score > self.model["threshold"] and count >= self.warmup
        yield self.encode((reading.id, reading.ts, score, anomalous))


def build(job: dict[str, Any]) -> StreamExecutionEnvironment:
    """`job`: bootstrap, group, source and sink topics, [partition, offset]s at which to stop, parallelism, checkpoint_ms,
    settings of Flink, model."""
    conf = Configuration()
    for key, value in job["settings"].items():
        conf.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(conf)
    env.set_parallelism(job["parallelism"])
    env.enable_checkpointing(job["checkpoint_ms"])
    stop = {KafkaTopicPartition(job["source"], partition): offset for partition, offset in job["stop"]}
    source = (KafkaSource.builder().set_bootstrap_servers(job["bootstrap"]).set_topics(job["source"])
              .set_group_id(job["group"]).set_property("isolation.level", "read_committed")
              .set_starting_offsets(KafkaOffsetsInitializer.earliest()).set_bounded(KafkaOffsetsInitializer.offsets(stop))
              .set_value_only_deserializer(ByteArraySchema()).build())
    record = (KafkaRecordSerializationSchema.builder().set_topic(job["sink"])
              .set_value_serialization_schema(ByteArraySchema()).build())
    sink = (KafkaSink.builder().set_bootstrap_servers(job["bootstrap"]).set_record_serializer(record)
            .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE).set_transactional_id_prefix(job["group"])
            .set_property("transaction.timeout.ms", "600000").set_property("compression.type", "lz4").build())
    readings = env.from_source(source, WatermarkStrategy.no_watermarks(), "telemetry", binary())
    readings.key_by(Device(), Types.STRING()).process(Score(job["model"]), binary()).sink_to(sink)
    return env


if __name__ == "__main__":
    job = msgspec.json.decode(Path(sys.argv[sys.argv.index("--spec") + 1]).read_bytes())
    build(job).execute_async(job["group"])
