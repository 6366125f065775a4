"""PyFlink's Kafka source and exactly-once sink, as both of its rivals use them."""

from __future__ import annotations

import sys
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)

from benchmarks.rivals.job import Job


def job_argument() -> Job:
    """The job's file behind --spec."""
    return Job.read(sys.argv[sys.argv.index("--spec") + 1])


def binary() -> Any:
    return Types.PRIMITIVE_ARRAY(Types.BYTE())


def environment(job: Job) -> StreamExecutionEnvironment:
    """With the job's settings over the cluster's."""
    conf = Configuration()
    for key, value in job.settings.items():
        conf.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(conf)
    env.set_parallelism(job.parallelism)
    env.enable_checkpointing(job.checkpoint_ms)
    return env


def read(env: StreamExecutionEnvironment, job: Job) -> DataStream:
    """Messages, up to the offsets to stop at."""
    stop = {KafkaTopicPartition(job.source, partition): offset for partition, offset in job.stop.items()}
    source = (KafkaSource.builder().set_bootstrap_servers(job.bootstrap).set_topics(job.source)
              .set_group_id(job.group).set_property("isolation.level", "read_committed")
              .set_starting_offsets(KafkaOffsetsInitializer.earliest()).set_bounded(KafkaOffsetsInitializer.offsets(stop))
              .set_value_only_deserializer(ByteArraySchema()).build())
    return env.from_source(source, WatermarkStrategy.no_watermarks(), "telemetry", binary())


def write(messages: DataStream, job: Job) -> None:
    """Bytes, exactly once."""
    record = (KafkaRecordSerializationSchema.builder().set_topic(job.sink)
              .set_value_serialization_schema(ByteArraySchema()).build())
    messages.sink_to(
        KafkaSink.builder().set_bootstrap_servers(job.bootstrap).set_record_serializer(record)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE).set_transactional_id_prefix(job.group)
        .set_property("transaction.timeout.ms", "600000").set_property("compression.type", "lz4").build())
