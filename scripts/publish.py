"""Definitions onto `parameters`: what a plan needs is published before anything may refer to it. The first of a name wins."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict, InvalidSettings, Untrusted
from swapstream.models.gate import check
from swapstream.models.lineage import author
from swapstream.models.store import Store, where
from swapstream.operators.code import find
from swapstream.operators.definitions import Definitions
from swapstream.operators.extractors.definition import ExtractorDefinition, definitions_of
from swapstream.operators.extractors.spec import parse_spec
from swapstream.operators.plan import Plan
from swapstream.operators.signing import Signer
from swapstream.operators.statement import Kind, Statement, decode_definition, digest_of
from swapstream.scripts import kafka
from swapstream.scripts.catalogue import Files, read_plan
from swapstream.scripts.code import keep
from swapstream.scripts.connecting import broker_errors
from swapstream.scripts.environment import Environment
from swapstream.scripts.keyring import own_signer

MAX_INLINE = 256 * 1024
"""Bytes of a model that travels on `parameters`; larger ones go through the store, by their digest."""


class Part(msgspec.Struct, frozen=True):
    """Something to be defined."""

    kind: Kind
    name: str
    body: bytes


class Author(msgspec.Struct, frozen=True):
    """Who says it, why, and the key that signs it. Only where a namespace trusts nobody yet may that be missing."""

    who: str
    why: str = ""
    signer: Signer | None = None


def author_of(environment: Environment, why: str = "") -> Author:
    """Who runs a command, with the environment's key. Raises Untrusted, UnknownName, InvalidSettings where there is none."""
    return Author(author(), why, own_signer(environment))


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
        *extractor_parts(plan),
        *model_parts(files, plan),
        Part("plan", plan.name, plan.encode()),
    ]


def extractor_parts(plan: Plan) -> list[Part]:
    """What is said of the users' code that makes a plan's features."""
    members = [member for one in plan.inputs for member in parse_spec(list(one.extractor))]
    return [Part("extractor", one.ref, one.encode()) for one in definitions_of(members)]


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

    Raises, with nothing written, Untrusted when the namespace does not trust the author's key, InvalidDefinition for what is too
    large or has a name that could be a path, and Conflict when a schema's or model's name stands for other bytes already; that also
    when somebody else took the name in the same moment.
    """
    definitions = read_definitions(environment)
    require_trusted(definitions, namespace, author)
    new = [part for part in parts if definitions.statement(namespace, part.kind, digest_of(part.body)) is None]
    for part in new:
        refuse_conflict(definitions, namespace, part)
    if not new:
        return definitions
    when = int(time.time() * 1000)
    definitions = write(environment, [stated(environment, namespace, part, author, when) for part in new], author.signer)
    # Somebody else may have taken a name since it was looked up; only the log tells who was first.
    for part in parts:
        refuse_conflict(definitions, namespace, part)
    return definitions


def stated(environment: Environment, namespace: str, part: Part, author: Author, when: int) -> Statement:
    """What is said of a part: a large model's bytes are put into the store, and only referred to; so is an extractor's code.

    Raises InvalidSettings where the workers could not reach the store.
    """
    digest, size = digest_of(part.body), len(part.body)
    if part.kind == "extractor":
        keep(environment, find(ExtractorDefinition.decode(part.body).code))
    if part.kind != "model" or size <= MAX_INLINE:
        return Statement(part.kind, namespace, part.name, digest, author.who, when, author.why, part.body)
    if environment.flink.rest and environment.models.store is None:
        raise InvalidSettings(f"model {part.name} has {size} bytes: above {MAX_INLINE} it goes through the store, a folder here, "
                              "while Flink runs elsewhere; name a store that both reach with the setting `models: {store: …}`")
    Store(environment.store).put(Artifact.decode(part.body))
    return Statement("model", namespace, part.name, digest, author.who, when, author.why, b"", size, where(digest))


def write(environment: Environment, statements: list[Statement], signer: Signer | None) -> Definitions:
    """Write statements onto `parameters`; returns all definitions, these included. Raises InvalidDefinition, with nothing written."""
    encoded = [(statement.key.encode(), statement.encode(signer)) for statement in statements]
    for _, value in encoded:
        decode_definition(value)
    with closing(kafka.producer(environment, linger_ms=0)) as producer, broker_errors(environment):
        sent = [producer.send(environment.topics.parameters.name, key=key, value=value) for key, value in encoded]
        producer.flush()
        offsets = [future.get(timeout=10).offset for future in sent]
    definitions = read_definitions(environment)
    for offset, (_, value) in zip(offsets, encoded, strict=True):
        definitions.read(offset, value)  # an open transaction keeps readers from what lies behind it
    return definitions


def require_trusted(definitions: Definitions, namespace: str, author: Author) -> None:
    """Raises Untrusted unless what this author signs is taken in the namespace."""
    signer, demanded = author.signer, definitions.trust.demands(namespace)
    if signer is None and demanded:
        raise Untrusted(f"namespace {namespace!r} takes only what a trusted key has signed, and this is not signed")
    if signer is None:
        return
    if not demanded:
        raise Untrusted(f"namespace {namespace!r} trusts no key yet: begin with `swapstream keys trust --namespace {namespace}`")
    if definitions.trusted(namespace, signer.id) is None:
        trusted = [f"{key} ({message.name})" for key, message in definitions.trust.keys(namespace).items() if message.trusts]
        raise Untrusted(f"namespace {namespace!r} does not trust key {signer.id}; it trusts {', '.join(trusted)}: "
                        "have one of these say `swapstream keys trust`")


def refuse_conflict(definitions: Definitions, namespace: str, part: Part) -> None:
    """Raises Conflict when the part's name is taken. Plans may share a name: their digest tells them apart."""
    known = definitions.find(namespace, part.kind, part.name)
    if known and part.kind != "plan" and known.digest != digest_of(part.body):
        raise Conflict(
            f"{part.kind} {part.name!r} is defined already in namespace {namespace!r} with digest {known.digest[:12]}…, "
            f"this one has {digest_of(part.body)[:12]}…: "
            + ("its code changed, so must its VERSION" if part.kind == "extractor" else "give it another name or version")
        )


def publish_plan(environment: Environment, namespace: str, path: str, author: Author) -> tuple[Plan, Definitions]:
    """Define a plan file and all that it needs; returns the plan and all definitions."""
    plan, parts = plan_parts(environment, path)
    return plan, publish(environment, namespace, parts, author)
