"""What a job reads: telemetry as frames built in the JVM, and `parameters` record by record."""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from swapstream.jobs.connection import properties
from swapstream.jobs.spec import JobSpec
from swapstream.operators.flink import LATER, frame_type, parameter_type


def kafka_options(spec: JobSpec, role: str) -> str:
    """The options of a Kafka source table."""
    return f"""'connector' = 'kafka', 'topic' = '{spec.topics[role]}', {properties(spec)},
        'properties.isolation.level' = 'read_committed', 'properties.auto.offset.reset' = 'earliest',
        'scan.topic-partition-discovery.interval' = '30 s'"""


def telemetry_frames(tables: StreamTableEnvironment, spec: JobSpec, constants: dict[int, int]) -> KeyedStream:
    """Frames of `spec.frame_ms`, in offset order within a partition, keyed by the partition's constant.

    The window buffer is JVM state: frames survive failures and savepoints. Keying happens in the JVM, too.
    """
    offsets = ";".join(
        f"partition:{partition},offset:{offset}" for partition, offset in sorted(spec.start_offsets.items())
    )
    tables.execute_sql(f"""
        CREATE TABLE telemetry (
            message_key BYTES, payload BYTES, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL,
            logged TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, arrived AS PROCTIME())
        WITH ({kafka_options(spec, "telemetry")}, 'properties.group.id' = '{spec.group}',
              'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = '{offsets}',
              'key.format' = 'raw', 'key.fields' = 'message_key', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY')""")
    cases = " ".join(f"WHEN {partition} THEN {constant}" for partition, constant in constants.items())
    frames = tables.sql_query(f"""
        SELECT shard, ROW(source, payloads, offsets, timestamps, message_keys) FROM (
            SELECT shard, MIN(`partition`) AS source, ARRAY_AGG(payload) AS payloads, ARRAY_AGG(`offset`) AS offsets,
                   ARRAY_AGG(logged_ms) AS timestamps, ARRAY_AGG(message_key) AS message_keys
            FROM TABLE(TUMBLE(DATA => (
                SELECT *, CASE `partition` {cases} ELSE {LATER} + `partition` END AS shard,
                       1000 * EXTRACT(EPOCH FROM logged) + EXTRACT(MILLISECOND FROM logged) AS logged_ms
                FROM telemetry), TIMECOL => DESCRIPTOR(arrived), SIZE => INTERVAL '{spec.frame_ms / 1000}' SECOND))
            GROUP BY shard, window_start, window_end)""")
    keyed_frame = Types.ROW([Types.INT(), frame_type()])
    stream = tables.to_append_stream(frames, keyed_frame)
    by_shard = stream._j_data_stream.keyBy(
        get_gateway().jvm.KeyByKeySelector(), Types.ROW([Types.INT()]).get_java_type_info()
    )
    return KeyedStream(by_shard, frame_type(), stream)


def parameters(tables: StreamTableEnvironment, spec: JobSpec) -> DataStream:
    """Every record of `parameters` from its beginning, with its offset."""
    tables.execute_sql(f"""
        CREATE TABLE parameters (body BYTES, `offset` BIGINT METADATA VIRTUAL)
        WITH ({kafka_options(spec, "parameters")}, 'scan.startup.mode' = 'earliest-offset', 'value.format' = 'raw')""")
    return tables.to_append_stream(tables.sql_query("SELECT `offset`, body FROM parameters"), parameter_type())
