"""The swap controller: one Kafka transaction from a plan to its cut map (C2).

Its transactional id is the deployment's, so of two controllers the older is fenced. The transaction times out after two seconds,
since while it is open no reader of telemetry gets past it.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from kafka.errors import KafkaError, ProducerFencedError

from swapstream.models.errors import ClusterError, Conflict, UnknownName
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions, encode_definition
from swapstream.operators.pipelines import missing
from swapstream.operators.token import Token
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author, read_definitions

TRANSACTION_TIMEOUT_MS = 2000


class Swapped(msgspec.Struct, frozen=True):
    """What a swap did: its cut, whether it was written now (or stood there before), and how long the transaction was open."""

    cut: Cut
    written: bool
    seconds: float


def swap(environment: Environment, namespace: str, deployment: str, plan: str, author: Author) -> Swapped:
    """Write the tokens of all partitions and the cut map, together or not at all.

    A no-op when the plan is the last cut's already. Raises UnknownName when something the plan needs is not defined, Conflict
    when another controller fenced this one, ClusterError.
    """
    transactional_id = f"swapstream.controller.{namespace}.{deployment}"
    # Making the producer fences every older controller and aborts what it left open.
    producer = kafka.transactional_producer(environment, transactional_id, TRANSACTION_TIMEOUT_MS)
    try:
        definitions = read_definitions(environment)
        absent = missing(definitions, namespace, plan)
        if absent:
            raise UnknownName(absent)
        cuts = definitions.cuts(namespace, deployment)
        if cuts and cuts[-1].plan == plan:
            return Swapped(cuts[-1], False, 0.0)
        cut = Cut(namespace, deployment, cuts[-1].epoch + 1 if cuts else 1, plan, environment.topics.telemetry.name, {})
        began = time.monotonic()
        return Swapped(write(producer, environment, definitions, cut, author), True, time.monotonic() - began)
    except ProducerFencedError as error:
        raise Conflict(
            f"another controller is swapping {namespace}/{deployment}: this one was fenced and wrote nothing"
        ) from error
    except KafkaError as error:
        raise ClusterError(
            f"swap of {namespace}/{deployment} failed: {error or type(error).__name__}; run it again"
        ) from error
    finally:
        producer.close()


def write(producer: Any, environment: Environment, definitions: Definitions, cut: Cut, author: Author) -> Cut:
    """The transaction itself; returns the cut with its offsets."""
    when = int(time.time() * 1000)
    producer.begin_transaction()
    try:
        sent = {
            partition: producer.send(
                cut.topic, partition=partition, value=token(cut, partition, definitions.position, author, when).encode()
            )
            for partition in sorted(producer.partitions_for(cut.topic))
        }
        producer.flush()
        cut = msgspec.structs.replace(
            cut, offsets={partition: future.get().offset for partition, future in sent.items()}
        )
        key, value = encode_definition("cut", cut.namespace, cut.name, cut.encode(), author.who, when, author.why)
        producer.send(environment.topics.parameters.name, key=key.encode(), value=value)
        producer.commit_transaction()
    except ProducerFencedError:
        raise
    except BaseException:
        producer.abort_transaction()
        raise
    return cut


def token(cut: Cut, partition: int, parameters_end: int, author: Author, when: int) -> Token:
    """A partition's token of a swap."""
    return Token(
        "swap",
        cut.namespace,
        cut.deployment,
        cut.epoch,
        cut.plan,
        cut.topic,
        partition,
        parameters_end,
        author.who,
        when,
        author.why,
    )
