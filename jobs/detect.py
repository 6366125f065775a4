"""detect: telemetry to anomalies in one job; every stage runs in the worker that owns the shard.

telemetry ─> frames (JVM) ─> shard: decode, extract, score, decide ─> scores, features, anomalies, dead-letters
parameters ─> broadcast ─────────^                              └───> ledger
"""

from __future__ import annotations

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from swapstream.jobs.keying import shard_constants
from swapstream.jobs.partitioner import message_keys
from swapstream.jobs.running import environment, job_id, run
from swapstream.jobs.sinks import write_ledger, write_output
from swapstream.jobs.sources import parameters, telemetry_frames
from swapstream.jobs.spec import JobSpec
from swapstream.jobs.uids import set_uids
from swapstream.operators.flink import ShardFunction, definitions_state, ledger_tag, message_type


def build(spec: JobSpec) -> StreamExecutionEnvironment:
    """The job's graph."""
    env = environment(spec)
    tables = StreamTableEnvironment.create(env)
    constants = shard_constants(spec.partitions)
    shards = ShardFunction(
        spec.assignment(),
        spec.topics,
        message_keys(spec.partitions, spec.partitions),
        {constant: partition for partition, constant in constants.items()},
        spec.store,
        spec.store_prefixes,
        job_id(env),
    )
    frames = telemetry_frames(tables, spec, constants)
    definitions = parameters(tables, spec).broadcast(definitions_state())
    messages = frames.connect(definitions).process(shards, message_type()).uid("shard").name("shard")
    statements = tables.create_statement_set()
    write_output(tables, statements, messages, spec)
    write_ledger(tables, statements, messages.get_side_output(ledger_tag()), spec)
    statements.attach_as_datastream()
    set_uids(env, spec.line)
    return env


if __name__ == "__main__":
    run(build)
