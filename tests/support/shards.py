"""Builders of everything a shard needs: schemas, models, plans, definitions, tokens, frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from swapstream.models.artifact import Artifact
from swapstream.models.build import train
from swapstream.models.errors import Unavailable
from swapstream.models.manifest import Lineage
from swapstream.models.objects import Objects
from swapstream.models.schema import Field, Schema, encoder, frame_encoder
from swapstream.operators.assignment import Assignment
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.extractors.definition import ExtractorDefinition, definitions_of
from swapstream.operators.extractors.spec import parse_spec
from swapstream.operators.frame import RawFrame
from swapstream.operators.outputs import Emission
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.plan import Plan
from swapstream.operators.plan_file import PlanFile, RouteFile, resolve
from swapstream.operators.run import Run
from swapstream.operators.shard import Shard
from swapstream.operators.shard_state import Change
from swapstream.operators.signing import Signer
from swapstream.operators.statement import Kind, Statement, digest_of, encode_definition
from swapstream.operators.token import Token
from swapstream.operators.trust import Action, KeyMessage

NAMESPACE, DEPLOYMENT, TOPIC = "prod", "detect", "telemetry"
FIELDS = ("temperature", "pressure")
SCHEMAS = {
    "pumps": Schema("pumps", tuple(map(Field, FIELDS))),
    "wide": Schema("wide", tuple(map(Field, (*FIELDS, "flow")))),
    "fans": Schema("fans", (Field("speed"),), type_key="kind", type="fan"),
    "fans-2": Schema("fans-2", (Field("speed"), Field("noise")), type_key="kind", type="fan"),
    "belts": Schema("belts", tuple(map(Field, FIELDS)), layout="columnar", type_key="kind", type="belt"),
}
EWM: tuple[Any, ...] = ({"ewm": {"halflife": 3, "warmup": 2, "statistics": ["residual", "deviation"]}},)


@cache
def model(ref: str, features: tuple[str, ...], kind: str = "zscore", alarm_rate: float = 0.2) -> Artifact:
    """A small model, the same bytes each time. Its numbers follow from its name."""
    name, version = ref.split(":")
    seed = sum(map(ord, ref))
    rows = np.random.default_rng(seed).normal(size=(40, len(features)))
    made = Lineage("test", "2026-01-01T00:00:00+00:00", "test")
    return train(kind, rows, features, name=name, version=int(version), alarm_rate=alarm_rate, seed=seed, lineage=made)


class Catalogue:
    """Every schema above, and for every reference a model of these features, or of its own in `others`."""

    def __init__(self, features: tuple[str, ...], others: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.features, self.others = features, others or {}

    def schema(self, name: str) -> Schema:
        return SCHEMAS[name]

    def model(self, ref: str) -> Artifact:
        return model(ref, self.others.get(ref, self.features))


class Deployable(msgspec.Struct, frozen=True):
    """A plan with all that it needs."""

    plan: Plan
    schemas: tuple[Schema, ...]
    models: tuple[Artifact, ...]

    @property
    def digest(self) -> str:
        return self.plan.digest

    def extractors(self) -> list[ExtractorDefinition]:
        """What is said of users' code."""
        return definitions_of(member for one in self.plan.inputs for member in parse_spec(list(one.extractor)))

    def definitions(self) -> list[tuple[Kind, str, bytes]]:
        return [
            *(("schema", schema.name, schema.encode()) for schema in self.schemas),
            *(("extractor", one.ref, one.encode()) for one in self.extractors()),
            *(("model", artifact.ref, artifact.encode()) for artifact in self.models),
            ("plan", self.plan.name, self.plan.encode()),
        ]


def deployable(
    name: str,
    *,
    schema: str | tuple[str, ...] = "pumps",
    extractor: tuple[Any, ...] | dict[str, tuple[Any, ...]] = ("identity",),
    of: Mapping[str, str] | None = None,
    **roles: Any,
) -> Deployable:
    """A resolved plan. `roles` are those of a plan file; models are made up by their names, for the first schema's features
    or, in `of`, for those of another schema.
    """
    file = PlanFile(name, schema, extractor, **roles)
    features = {schema.name: extractor.features for schema, extractor in file.inputs(SCHEMAS.__getitem__)}
    others = {ref: features[schema] for ref, schema in (of or {}).items() if schema in features}
    catalogue = Catalogue(next(iter(features.values())), others)
    plan = resolve(file, catalogue)
    models = [catalogue.model(pin.name) for pin in sorted(plan.models(), key=str)]
    return Deployable(plan, tuple(SCHEMAS[name] for name in file.schemas), tuple(models))


def route(devices: str = "*", **roles: Any) -> RouteFile:
    return RouteFile(devices, **roles)


class Parameters:
    """The `parameters` topic: its records, and readers that have read a part of it.

    With a signer the first record has NAMESPACE trust its key, and what is defined is signed by it.
    """

    def __init__(self, signer: Signer | None = None) -> None:
        self.records: list[bytes | None] = []
        self.signer = signer
        if signer:
            self.tell("trust", signer)

    @property
    def end(self) -> int:
        return len(self.records)

    def define(self, kind: Kind, name: str, body: bytes, namespace: str = NAMESPACE) -> int:
        """Returns the record's offset."""
        return self.write(encode_definition(kind, namespace, name, body, "a person", 1, "", self.signer)[1])

    def tell(self, action: Action, key: Signer) -> int:
        """A key message; returns its offset."""
        return self.define("key", key.id, KeyMessage(key.id, key.public, action, "a key", self.end).encode())

    def write(self, value: bytes | None) -> int:
        self.records.append(value)
        return self.end - 1

    def publish(self, *deployables: Deployable) -> int:
        """Returns the end."""
        for one in deployables:
            for kind, name, body in one.definitions():
                self.define(kind, name, body)
        return self.end

    def refer(self, one: Deployable) -> int:
        """Publish, the models by reference; returns the end."""
        for kind, name, body in one.definitions():
            if kind != "model":
                self.define(kind, name, body)
                continue
            digest = digest_of(body)
            said = Statement("model", NAMESPACE, name, digest, "a person", 1, "", b"", len(body), f"objects/{digest}")
            self.write(said.encode(self.signer))
        return self.end

    def cut(self, epoch: int, plan: str, offsets: dict[int, int], **changes: Any) -> int:
        cut = msgspec.structs.replace(Cut(NAMESPACE, DEPLOYMENT, epoch, plan, TOPIC, offsets), **changes)
        return self.define("cut", cut.name, cut.encode())

    def read(self, definitions: Definitions, end: int | None = None) -> Definitions:
        """Let a reader go on to an end."""
        for offset in range(definitions.position, self.end if end is None else end):
            definitions.read(offset, self.records[offset])
        return definitions


class Fetched(Objects):
    """A store with these artifacts; without an artifact it is away."""

    def __init__(self) -> None:
        self.artifacts: dict[str, bytes] = {}

    def get(self, digest: str, size: int, where: str) -> bytes:
        if digest not in self.artifacts:
            raise Unavailable(f"store: {where} is away")
        return self.artifacts[digest]


class Worker:
    """One Python worker: definitions, pipelines and a shard, as operators/flink.py holds them.

    `time`: what its clock shows, in seconds. `store`: the artifacts by reference that can be fetched.
    """

    def __init__(
        self,
        parameters: Parameters,
        plan: str,
        partition: int = 0,
        end: int | None = None,
        job: str | None = None,
        blocking: bool = True,
        **assigned: Any,
    ) -> None:
        self.parameters = parameters
        self.time = 0.0
        self.store = Fetched()
        self.definitions = Definitions()
        self.pipelines = Pipelines(self.definitions, NAMESPACE, self.store, clock=self.clock)
        assignment = Assignment(NAMESPACE, DEPLOYMENT, TOPIC, plan, parameters.end if end is None else end, **assigned)
        run = Run(job, 0, self.clock, blocking) if job else Run(blocking=blocking)
        self.shard = Shard(partition, assignment, self.definitions, self.pipelines, run)

    def clock(self) -> float:
        return self.time

    def read(self, end: int | None = None) -> list[Emission]:
        """Read `parameters` on, then let the shard look at what it holds."""
        self.parameters.read(self.definitions, end)
        return self.shard.on_timer()


def parameters_of(*deployables: Deployable, signer: Signer | None = None) -> Parameters:
    """With all that these need."""
    parameters = Parameters(signer)
    parameters.publish(*deployables)
    return parameters


def running(*deployables: Deployable, partition: int = 0, signer: Signer | None = None, **assigned: Any) -> Worker:
    """A worker that has read everything, under the first plan."""
    worker = Worker(parameters_of(*deployables, signer=signer), deployables[0].digest, partition, **assigned)
    worker.read()
    return worker


class Stored:
    """Keyed state as Flink keeps it for a shard: what `changes` gives, gathered over time."""

    def __init__(self) -> None:
        self.head: bytes | None = None
        self.table: dict[str, bytes] = {}
        self.held: list[bytes] = []

    def write(self, change: Change) -> None:
        self.head = change.head
        entries = {key: entry for key, entry in self.table.items() if not key.startswith(change.cleared)}
        self.table = {key: entry for key, entry in (entries | change.table).items() if entry is not None}
        self.held = list(change.held) if change.released else [*self.held, *change.held]

    def restore(self, shard: Shard) -> None:
        if self.head is not None:
            shard.restore_parts(self.head, self.table, self.held)

    def copy(self) -> Stored:
        copied = Stored()
        copied.head, copied.table, copied.held = self.head, self.table, self.held
        return copied


def token(
    epoch: int, plan: str, parameters_end: int, partition: int = 0, signer: Signer | None = None, **changes: Any
) -> bytes:
    made = Token("swap", NAMESPACE, DEPLOYMENT, epoch, plan, TOPIC, partition, parameters_end, "a person", 1, "")
    return msgspec.structs.replace(made, **changes).encode(signer)


def reading(device: str = "pump-1", values: Sequence[float] = (1.0, 2.0), time: int = 1_000) -> bytes:
    return msgspec.msgpack.encode({"device": device, "time": time, "values": list(values)})


def fan(device: str = "fan-1", speed: float = 1.0, time: int = 1_000) -> bytes:
    """A reading of schema `fans`."""
    return encoder(SCHEMAS["fans"])(device, time, (speed,))


def belt(device: str | Sequence[str], values: Sequence[Sequence[float]], time: int = 1_000) -> bytes:
    """Readings of schema `belts`, a millisecond apart."""
    return frame_encoder(SCHEMAS["belts"])(device, time + np.arange(len(values)), np.array(values, np.float64))


def frame(
    payloads: Sequence[bytes | None], first: int = 0, partition: int = 0, offsets: Sequence[int] = (), logged: int = 1_000
) -> RawFrame:
    """A frame of records at offsets first, first + 1, … or at the given ones; log time is `logged` ms + offset."""
    at = np.array(offsets, np.int64) if len(offsets) else np.arange(first, first + len(payloads), dtype=np.int64)
    return RawFrame(partition, list(payloads), at, logged + at, [None] * len(payloads))
