"""What a job writes: one Kafka sink for all output, in one transaction a checkpoint, and one for the ledger, which doesn't wait."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StatementSet, StreamTableEnvironment

from swapstream.jobs.spec import JobSpec
from swapstream.operators.flink import message_type

OUTPUT = ("scores", "features", "anomalies", "dead_letters")


def write_output(tables: StreamTableEnvironment, statements: StatementSet, messages: DataStream, spec: JobSpec) -> None:
    """Scores, features, anomalies and dead letters, with the delivery guarantee of the job."""
    guarantee = "'sink.delivery-guarantee' = 'at-least-once'"
    if spec.delivery == "exactly_once":
        # POOLING reuses transactional ids and aborts what a lost run left open; it can't be chosen after the first savepoint.
        guarantee = f"""'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'swapstream.{spec.name}.output',
            'sink.transaction-naming-strategy' = 'pooling',
            'properties.transaction.timeout.ms' = '{spec.transaction_timeout_ms}'"""
    topics = ";".join(spec.topics[role] for role in OUTPUT)
    write(tables, statements, messages, "output", topics, spec, guarantee)


def write_ledger(tables: StreamTableEnvironment, statements: StatementSet, rows: DataStream, spec: JobSpec) -> None:
    """Ledger rows at least once; their ids make repeats harmless."""
    write(
        tables, statements, rows, "ledger", spec.topics["ledger"], spec, "'sink.delivery-guarantee' = 'at-least-once'"
    )


def write(
    tables: StreamTableEnvironment,
    statements: StatementSet,
    messages: DataStream,
    table: str,
    topics: str,
    spec: JobSpec,
    guarantee: str,
) -> None:
    """A stream of (topic, key, value) into a Kafka table."""
    tables.execute_sql(f"""
        CREATE TABLE `{table}` (topic STRING NOT NULL METADATA, message_key BYTES, body BYTES)
        WITH ('connector' = 'kafka', 'topic' = '{topics}', 'properties.bootstrap.servers' = '{spec.bootstrap}',
              'key.format' = 'raw', 'key.fields' = 'message_key', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
              'properties.compression.type' = 'lz4', 'properties.max.request.size' = '12582912', {guarantee})""")
    schema = (
        Schema.new_builder()
        .column("f0", DataTypes.STRING().not_null())
        .column("f1", DataTypes.BYTES())
        .column("f2", DataTypes.BYTES())
        .build()
    )
    rows = tables.from_data_stream(messages, schema)
    statements.add_insert(table, rows.alias("topic", "message_key", "body"))


def stream_type() -> object:
    """The type of the streams that are written."""
    return message_type()
