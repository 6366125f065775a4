"""The options that a job's Kafka tables share."""

from __future__ import annotations

import msgspec

from swapstream.jobs.connection import literal, properties

from .test_spec import SPEC


def test_the_broker_is_named_and_every_property_of_the_clients() -> None:
    spec = msgspec.structs.replace(SPEC, kafka={"sasl.jaas.config": 'x password="${env:P}";'})
    assert properties(spec) == ("'properties.bootstrap.servers' = 'localhost:9092', "
                                "'properties.sasl.jaas.config' = 'x password=\"${env:P}\";'")


def test_quotes_are_doubled() -> None:
    assert literal("it's") == "'it''s'"
