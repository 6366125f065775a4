"""detect: telemetry to anomalies in one job; every stage runs in the worker that owns the shard.

telemetry ─> frames (JVM) ─> shard: decode, extract, score, decide ─> scores, features, anomalies, dead-letters
parameters ─> broadcast ─────────^                              └───> ledger
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment
from pyflink.util.java_utils import get_j_env_configuration

from swapstream.jobs.keying import shard_constants
from swapstream.jobs.partitioner import message_keys
from swapstream.jobs.restoring import restore_from
from swapstream.jobs.sinks import write_ledger, write_output
from swapstream.jobs.sources import parameters, telemetry_frames
from swapstream.jobs.spec import MAX_PARALLELISM, JobSpec
from swapstream.jobs.uids import set_uids
from swapstream.operators.assignment import Assignment
from swapstream.operators.flink import ShardFunction, definitions_state, ledger_tag, message_type


def environment(spec: JobSpec) -> StreamExecutionEnvironment:
    """Flink's settings for low latency and state that survives."""
    conf = Configuration()
    conf.set_string("pipeline.name", spec.name)
    conf.set_string("pipeline.max-parallelism", str(MAX_PARALLELISM))
    conf.set_string("execution.buffer-timeout.interval", f"{spec.buffer_timeout_ms}ms")
    conf.set_string("python.fn-execution.bundle.time", str(spec.bundle_ms))
    # Shards hold their state themselves: a cache of a thousand journals, which are never read back, would only cost memory.
    conf.set_string("python.map-state.read-cache-size", "1")
    conf.set_string("state.backend.type", spec.state_backend)
    conf.set_string("execution.checkpointing.incremental", "true")
    # No operator here keeps or changes what it was given; copying rows from one to the next would cost a tenth of the rate.
    conf.set_string("pipeline.object-reuse", "true")
    conf.set_string("table.local-time-zone", "UTC")
    conf.set_string("table.exec.uid.generation", "ALWAYS")
    env = StreamExecutionEnvironment.get_execution_environment(conf)
    env.set_parallelism(spec.parallelism)
    env.enable_checkpointing(spec.checkpoint_ms)
    return env


def job_id(env: StreamExecutionEnvironment) -> str | None:
    """The id that this job was submitted under, where the submission chose it."""
    found: str | None = get_j_env_configuration(env._j_stream_execution_environment).toMap().get("$internal.pipeline.job-id")
    return found


def build(spec: JobSpec) -> StreamExecutionEnvironment:
    """The job's graph."""
    env = environment(spec)
    tables = StreamTableEnvironment.create(env)
    constants = shard_constants(spec.partitions)
    assignment = Assignment(
        spec.namespace,
        spec.deployment,
        spec.topics["telemetry"],
        spec.plan,
        spec.parameters_end,
        snapshot_every_ms=spec.snapshot_every_ms if "snapshots" in spec.topics else 0,
        generation=spec.generation,
        upgrade=spec.upgrade,
        partitions=len(spec.start_offsets),
    )
    shards = ShardFunction(
        assignment,
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


def argument(name: str) -> Path | None:
    """The file that follows an option."""
    return Path(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else None


if __name__ == "__main__":
    spec = JobSpec.read(argument("--spec") or Path())
    env = build(spec)
    if state := argument("--restore-from"):
        restore_from(env, state)
    env.execute_async(spec.name)
