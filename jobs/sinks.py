"""What a job writes: one Kafka sink for all output, in one transaction a checkpoint; one for the ledger, which doesn't wait."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Schema, StatementSet, StreamTableEnvironment

from swapstream.jobs.connection import properties
from swapstream.jobs.spec import JobSpec

OUTPUT = ("scores", "features", "anomalies", "dead_letters", "snapshots")
AT_LEAST_ONCE = "'sink.delivery-guarantee' = 'at-least-once'"


def write_output(tables: StreamTableEnvironment, statements: StatementSet, messages: DataStream, spec: JobSpec) -> None:
    """A stream of (topic, key, value): scores, features, anomalies, dead letters and snapshots, with the job's delivery guarantee."""
    topics = ";".join(spec.topics[role] for role in OUTPUT if role in spec.topics)
    guarantee = exactly_once(spec) if spec.delivery == "exactly_once" else AT_LEAST_ONCE
    create(tables, "output", "topic STRING NOT NULL METADATA, ", topics, spec, guarantee)
    insert(tables, statements, messages, "output", {"topic": DataTypes.STRING().not_null()})


def write_ledger(tables: StreamTableEnvironment, statements: StatementSet, rows: DataStream, spec: JobSpec) -> None:
    """A stream of (key, value), at least once; the rows' ids make repeats harmless."""
    create(tables, "ledger", "", spec.topics["ledger"], spec, AT_LEAST_ONCE)
    insert(tables, statements, rows, "ledger", {})


def exactly_once(spec: JobSpec) -> str:
    """INCREMENTING never reuses a transactional id, so that a commit repeated at recovery is not refused: what the logs call
    a failed commit is one. (POOLING reuses the id a checkpoint later; if that one fails, Flink warns of a loss that is none.)"""
    return f"""'sink.delivery-guarantee' = 'exactly-once', 'sink.transaction-naming-strategy' = 'incrementing',
        'sink.transactional-id-prefix' = '{spec.transactions}',
        'properties.transaction.timeout.ms' = '{spec.transaction_timeout_ms}'"""


def create(
    tables: StreamTableEnvironment, table: str, columns: str, topics: str, spec: JobSpec, guarantee: str
) -> None:
    """A Kafka table of raw keys and values."""
    tables.execute_sql(f"""
        CREATE TABLE `{table}` ({columns}message_key BYTES, body BYTES)
        WITH ('connector' = 'kafka', 'topic' = '{topics}', {properties(spec)},
              'key.format' = 'raw', 'key.fields' = 'message_key',
              'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
              'properties.compression.type' = 'lz4', 'properties.max.request.size' = '12582912', {guarantee})""")


def insert(
    tables: StreamTableEnvironment, statements: StatementSet, rows: DataStream, table: str, first: dict[str, DataTypes]
) -> None:
    """A stream whose fields are those of the table, in order: `first`, then message_key and body."""
    columns = {**first, "message_key": DataTypes.BYTES(), "body": DataTypes.BYTES()}
    schema = Schema.new_builder()
    for place, kind in enumerate(columns.values()):
        schema = schema.column(f"f{place}", kind)
    statements.add_insert(table, tables.from_data_stream(rows, schema.build()).alias(*columns))
