"""State that is older than the transactions of its sinks live: what of the output would be missing after a start from it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from kafka.errors import TransactionalIdNotFoundError

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import InvalidDefinition, Rejected
from swapstream.operators.scores import decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.bounds import starts
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment
from swapstream.scripts.offsets import committed_offsets
from swapstream.scripts.state_file import StateFile
from swapstream.scripts.topics import admin

RECENT = 200
"""Messages of each output partition that are looked at for the last reading answered."""


def refuse_old(environment: Environment, state: StateFile, made: float, told: JobSpec, force: bool) -> None:
    """State made at a time (s since the epoch), by a job that was `told` this, must be young enough, or leave nothing to be committed
    that the broker has given up. Raises Rejected naming the offsets at risk; with `force` that is said only."""
    age = time.time() - made
    if told.delivery != "exactly_once" or age * 1000 <= told.transaction_timeout_ms:
        return
    lost = not_committed(environment, state.transactions)
    risk = between(last_answered(environment, told), state.positions) if lost else {}
    if not risk:
        return
    offsets = ", ".join(f"{told.topics['telemetry']}-{partition}: {first} to {last}" for partition, (first, last) in sorted(risk.items()))
    line = (f"{state.uri} is {age:.0f} s old, older than the sinks' transaction timeout ({told.transaction_timeout_ms / 1000:.0f} s): "
            f"{len(lost)} transactions that it leaves to be committed are not open any more, and what was answered in them is missing: "
            f"{offsets}")  # fmt: skip
    if not force:
        raise Rejected(f"{line}; --force starts all the same, and a deployment of another name that begins there scores them again")
    say(line)


def not_committed(environment: Environment, transactions: Iterable[str]) -> list[str]:
    """Those that the broker has not committed, as far as it remembers, and that nobody can commit any more."""
    with admin(environment) as client:
        return sorted(one for one in transactions if _state(client, one) not in ("CompleteCommit", "PrepareCommit", "Ongoing"))


def _state(client: object, transaction: str) -> str:
    try:
        found = client.describe_transactions([transaction])[transaction]  # type: ignore[attr-defined]
    except TransactionalIdNotFoundError:
        return "forgotten"
    return str(getattr(found.state, "value", found.state))


def between(answered: Mapping[int, int], positions: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Partition → the first and the last offset that was read, and of which no answer can be seen."""
    return {partition: (answered.get(partition, -1) + 1, offset - 1) for partition, offset in positions.items()
            if answered.get(partition, -1) + 1 < offset}  # fmt: skip


def last_answered(environment: Environment, told: JobSpec) -> dict[int, int]:
    """Partition of telemetry → the last offset of a record that a read_committed reader finds scores or features of, among the newest
    messages. What a rekey job writes tells no offsets; its group has them, which move when its transactions are committed."""
    if told.job == "rekey":
        return {partition: offset - 1 for partition, offset in committed_offsets(environment, told.group).items()}
    found: dict[int, int] = {}
    for topic in (environment.topics.scores.name, environment.topics.features.name):
        for record in kafka.read_to_end(environment, topic, starts(environment, topic, RECENT)):
            with suppress(InvalidDefinition):
                frame = decode_scores(record.value or b"")
                origin = frame.provenance
                if (origin.namespace, origin.deployment, origin.topic) == (told.namespace, told.deployment, told.topics["telemetry"]):
                    found[origin.partition] = max(frame.last, found.get(origin.partition, -1))
    return found
