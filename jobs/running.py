"""What every job does alike: Flink's settings, what the command line says, and going."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.util.java_utils import get_j_env_configuration

from swapstream.jobs.restoring import restore_from
from swapstream.jobs.spec import MAX_PARALLELISM, JobSpec


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


def run(build: Callable[[JobSpec], StreamExecutionEnvironment]) -> None:
    """Submit the job that `--spec FILE` tells of."""
    spec = JobSpec.read(argument("--spec") or Path())
    env = build(spec)
    if state := argument("--restore-from"):
        restore_from(env, state, "--leave-unclaimed" in sys.argv)
    env.execute_async(spec.name)


def argument(name: str) -> Path | None:
    """The file that follows an option."""
    return Path(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else None
