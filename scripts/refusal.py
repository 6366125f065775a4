"""A refusal before anything was written: what the gate said here stands on the ledger as well."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from swapstream.models.errors import ClusterError, InvalidArtifact, Rejected
from swapstream.models.lineage import author
from swapstream.operators.ledger import LedgerRow, LedgerWriter
from swapstream.scripts import kafka
from swapstream.scripts.connecting import broker_errors
from swapstream.scripts.environment import Environment


@contextmanager
def on_the_ledger(environment: Environment, namespace: str, deployment: str) -> Iterator[None]:
    """Where a model is refused inside, the ledger tells it: `rejected`, with the check and the value. `deployment` may be ""."""
    try:
        yield
    except (Rejected, InvalidArtifact) as error:
        with suppress(ClusterError):  # the refusal is what matters
            tell(environment, namespace, deployment, author(), str(error))
        raise


def tell(environment: Environment, namespace: str, deployment: str, who: str, reason: str) -> None:
    """Write the row. Raises ClusterError."""
    now = int(time.time() * 1000)
    writer = LedgerWriter(f"{namespace}/{deployment}/command/{secrets.token_hex(8)}")
    row = LedgerRow(f"{writer.writer}/rejected", namespace, deployment, "rejected", "", now, who=who, reason=reason)
    with closing(kafka.producer(environment, linger_ms=0)) as producer, broker_errors(environment):
        producer.send(environment.topics.ledger.name, key=b"command", value=writer.write(row)).get(timeout=10)
