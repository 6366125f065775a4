"""What a job is told: a first one's from the environment, that of one that takes over from the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.operators.assignment import Upgrade
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.environment import Environment
from swapstream.scripts.upgrade_order import Settings


def first_spec(
    environment: Environment, deployment: Deployment, plan: str, end: int, offsets: dict[int, int], delivery: Any, code: Sequence[str] = ()
) -> JobSpec:
    """Of a job that begins with the plan of that digest, `parameters` having been written to `end`; `code`: digests of what is sent."""
    return JobSpec(
        job=deployment.job, namespace=deployment.namespace, deployment=deployment.name, plan=plan, parameters_end=end,
        partitions=len(offsets), start_offsets=offsets, parallelism=deployment.parallelism, generation=deployment.generation,
        line=deployment.line, code=tuple(code), **of_environment(environment, delivery, environment.job.state_backend, None),
    )  # fmt: skip


def next_spec(
    environment: Environment, before: JobSpec, settings: Settings, generation: int, line: int, end: int, upgrade: Upgrade,
    code: Sequence[str] = (),
) -> JobSpec:  # fmt: skip
    """Of a job that takes over from one that was told `before`: plan and offsets of its beginning stay the deployment's."""
    told = of_environment(environment, settings.delivery or before.delivery, settings.state_backend or environment.job.state_backend,
                          settings.frame_ms)  # fmt: skip
    return msgspec.structs.replace(
        before, **told, parameters_end=end, parallelism=settings.parallelism or before.parallelism, generation=generation, line=line,
        upgrade=upgrade, code=tuple(code),
    )  # fmt: skip


def of_environment(environment: Environment, delivery: Any, state_backend: Any, frame_ms: int | None) -> dict[str, Any]:
    """What the environment says of every job."""
    defaults = environment.job
    pace = defaults.pace(delivery) | ({"frame_ms": frame_ms} if frame_ms else {})
    return {
        "bootstrap": environment.broker.servers, "topics": {role: topic.name for role, topic in environment.topics.by_role().items()},
        "delivery": delivery, **pace, "checkpoint_ms": defaults.checkpoint_ms,
        "transaction_timeout_ms": defaults.transaction_timeout_ms, "state_backend": state_backend,
        "snapshot_every_ms": defaults.snapshot_every_ms, "hold_max_bytes": defaults.hold_max_bytes,
        "kafka": environment.broker.security.java(), "store": str(environment.store), "store_prefixes": environment.models.allowed,
    }  # fmt: skip
