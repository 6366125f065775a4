"""rekey: a topic that is not keyed by device to one that is, exactly once.

messages ─> their devices' keys (Python, in vectors) ─> output: the same bytes, keyed by device; dead-letters

One chain from source to sink: what one partition holds stays in order, and so does each device's as far as the source has it.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pandas as pd
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from swapstream.jobs.connection import literal
from swapstream.jobs.partitioner import partition_of
from swapstream.jobs.running import environment, run
from swapstream.jobs.sinks import create, exactly_once
from swapstream.jobs.sources import kafka_options
from swapstream.jobs.spec import JobSpec
from swapstream.jobs.uids import set_uids
from swapstream.operators.rekeying import Messages, Rekeying

AT_ONCE = 500
"""Messages that Python gets at once, and Flink holds meanwhile: they can have megabytes each."""
ROUTED = DataTypes.ROW([
    DataTypes.FIELD("homes", DataTypes.ARRAY(DataTypes.BYTES())),
    DataTypes.FIELD("bodies", DataTypes.ARRAY(DataTypes.BYTES())),
])  # fmt: skip
"""Of a message: what is written of it, key by key; without `bodies` it is the message itself. A key that is null: a dead letter."""


class Route(ScalarFunction):  # type: ignore[misc]
    """Payloads, partitions, offsets and timestamps (ms) of some messages to ROUTED."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec

    def open(self, function_context: FunctionContext) -> None:
        spec = self.spec
        self.rekeying = Rekeying(spec.schemas, spec.topics["telemetry"], lambda key: partition_of(key, spec.partitions),
                                 spec.namespace, spec.deployment)  # fmt: skip
        gc.collect()
        gc.freeze()

    def eval(self, payloads: Any, partitions: Any, offsets: Any, timestamps: Any) -> Any:
        where = (np.asarray(column, np.int64) for column in (partitions, offsets, timestamps))
        found = self.rekeying.rekey(Messages(payloads.tolist(), *where))
        return pd.DataFrame({"homes": objects(found.keys), "bodies": objects(found.bodies)})


def objects(items: list[Any]) -> Any:
    """A column of Python objects; pandas would make numbers of None alone."""
    return pd.Series(items, dtype=object)


def build(spec: JobSpec) -> StreamExecutionEnvironment:
    """The job's graph."""
    env = environment(spec)
    tables = StreamTableEnvironment.create(env)
    settings = tables.get_config()
    settings.set("python.fn-execution.arrow.batch.size", str(AT_ONCE))
    settings.set("python.fn-execution.bundle.size", str(AT_ONCE))
    offsets = ";".join(f"partition:{partition},offset:{offset}" for partition, offset in sorted(spec.start_offsets.items()))
    tables.execute_sql(f"""
        CREATE TABLE telemetry (
            payload BYTES, `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL,
            logged TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL)
        WITH ({kafka_options(spec, "telemetry")}, 'properties.group.id' = '{spec.group}', 'value.format' = 'raw',
              'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = '{offsets}')""")
    tables.create_temporary_function("route", udf(Route(spec), result_type=ROUTED, func_type="pandas"))
    columns = "topic STRING NOT NULL METADATA, logged TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', "
    create(tables, "output", columns, f"{spec.topics['rekeyed']};{spec.topics['dead_letters']}", spec, exactly_once(spec))
    statements = tables.create_statement_set()
    statements.add_insert_sql(f"""
        INSERT INTO `output`
        SELECT CASE WHEN home IS NULL THEN {literal(spec.topics["dead_letters"])} ELSE {literal(spec.topics["rekeyed"])} END,
               CASE WHEN home IS NULL OR logged < TO_TIMESTAMP_LTZ(0, 3) THEN CAST(NULL AS TIMESTAMP_LTZ(3)) ELSE logged END,
               home, COALESCE(messages.routed.bodies[place], payload)
        FROM (SELECT payload, logged, route(payload, `partition`, `offset`,
                  1000 * EXTRACT(EPOCH FROM logged) + EXTRACT(MILLISECOND FROM logged)) AS routed FROM telemetry) AS messages
        CROSS JOIN UNNEST(messages.routed.homes) WITH ORDINALITY AS homes (home, place)""")
    statements.attach_as_datastream()
    set_uids(env, spec.line)
    return env


if __name__ == "__main__":
    run(build)
