"""How a job's Kafka clients reach the broker: options that all its tables share."""

from __future__ import annotations

from swapstream.jobs.spec import JobSpec


def properties(spec: JobSpec) -> str:
    """The `properties.…` options of a Kafka table in SQL: where the broker is, TLS, SASL."""
    found = {"bootstrap.servers": spec.bootstrap, **spec.kafka}
    return ", ".join(f"'properties.{key}' = {literal(value)}" for key, value in found.items())


def literal(value: str) -> str:
    """A string in SQL."""
    return "'" + value.replace("'", "''") + "'"
