"""Definitions onto `parameters`: what a plan needs is published before anything may refer to it. The first of a name wins."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec

from swapstream.models.errors import Conflict
from swapstream.models.gate import check
from swapstream.operators.definitions import Definitions
from swapstream.operators.plan import Plan
from swapstream.operators.statement import Kind, digest_of, encode_definition
from swapstream.scripts import kafka
from swapstream.scripts.catalogue import Files, read_plan
from swapstream.scripts.environment import Environment


class Part(msgspec.Struct, frozen=True):
    """Something to be defined."""

    kind: Kind
    name: str
    body: bytes


class Author(msgspec.Struct, frozen=True):
    """Who says it, and why."""

    who: str
    why: str = ""


def read_definitions(environment: Environment) -> Definitions:
    """Everything on `parameters` up to its present end; what is no definition is passed over, as workers do."""
    definitions = Definitions()
    for record in kafka.read_to_end(environment, environment.topics.parameters.name):
        definitions.read(record.offset, record.value)
    return definitions


def plan_parts(environment: Environment, path: str) -> tuple[Plan, list[Part]]:
    """A plan file resolved, and all that must be defined for it, in the order in which it is published."""
    file, plan = read_plan(environment, path)
    files = Files(environment, Path(path).parent)
    return plan, [
        *(Part("schema", schema.name, schema.encode()) for schema in map(files.schema, file.schemas)),
        *model_parts(files, plan),
        Part("plan", plan.name, plan.encode()),
    ]


def model_parts(files: Files, plan: Plan) -> list[Part]:
    """The artifacts of a plan's models, past the gate. That they read what the extractor gives was seen in resolving the plan.

    Raises Rejected.
    """
    artifacts = [files.model(pin.name) for pin in sorted(plan.models(), key=str)]
    for artifact in artifacts:
        check(artifact)
    return [Part("model", artifact.ref, artifact.encode()) for artifact in artifacts]


def publish(environment: Environment, namespace: str, parts: list[Part], author: Author) -> Definitions:
    """Define what is not defined yet; returns all definitions, these included, so that `position` is behind the last of them.

    Raises Conflict, with nothing written, when a schema's or model's name stands for other bytes already; also when somebody
    else took the name in the same moment.
    """
    definitions = read_definitions(environment)
    new = [part for part in parts if definitions.body(namespace, part.kind, digest_of(part.body)) is None]
    for part in new:
        refuse_conflict(definitions, namespace, part)
    when = int(time.time() * 1000)
    encoded = [
        encode_definition(part.kind, namespace, part.name, part.body, author.who, when, author.why) for part in new
    ]
    with closing(kafka.producer(environment, linger_ms=0)) as producer, kafka.broker_errors(environment):
        topic = environment.topics.parameters.name
        sent = [producer.send(topic, key=key.encode(), value=value) for key, value in encoded]
        producer.flush()
        offsets = [future.get(timeout=10).offset for future in sent]
    if not new:
        return definitions
    # Somebody else may have taken a name since it was looked up; only the log tells who was first.
    definitions = read_definitions(environment)
    for offset, (_, value) in zip(offsets, encoded, strict=True):
        definitions.read(offset, value)  # an open transaction keeps readers from what lies behind it
    for part in parts:
        refuse_conflict(definitions, namespace, part)
    return definitions


def refuse_conflict(definitions: Definitions, namespace: str, part: Part) -> None:
    """Raises Conflict when the part's name is taken. Plans may share a name: their digest tells them apart."""
    known = definitions.find(namespace, part.kind, part.name)
    if known and part.kind != "plan" and known.digest != digest_of(part.body):
        raise Conflict(
            f"{part.kind} {part.name!r} is defined already in namespace {namespace!r} with digest {known.digest[:12]}…, "
            f"this one has {digest_of(part.body)[:12]}…: give it another name or version"
        )


def publish_plan(environment: Environment, namespace: str, path: str, author: Author) -> tuple[Plan, Definitions]:
    """Define a plan file and all that it needs; returns the plan and all definitions."""
    plan, parts = plan_parts(environment, path)
    return plan, publish(environment, namespace, parts, author)
