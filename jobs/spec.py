"""What a job is told at submit: one JSON file, read where the job's graph is built."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema
from swapstream.operators.assignment import Assignment, Inherited, Upgrade

VERSION = 1
MAX_PARALLELISM = 128


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job of one deployment.

    - plan: digest of the plan before any token. parameters_end: how far `parameters` had been written at submit.
    - topics: role → name. partitions: of telemetry; shards are spread by it, so it must not change while state lives.
    - start_offsets: partition → first offset to read, resolved before `parameters_end`; partitions that come later start at 0.
    - snapshot_every_ms: how often, in log time, each shard publishes its state; 0, or without a topic for it: never.
    - hold_max_bytes: of input, that a shard may hold back.
    - store: path or URL below which models by reference lie. store_prefixes: from where workers fetch; without any, from the store.
    - kafka: properties of every Kafka client: TLS and SASL. Secrets are not among them, only the names of what holds them.
    - generation: which job of the deployment this is; a keeper's submission is of the same one again. upgrade: how it takes over
      another's state.
    - line: which output sinks it writes with, and as which consumer group it reads. Two jobs side by side have different ones; whoever
      goes on from the transactions that a savepoint left has the same.
    - code: digests of the archives of extractors' code.
    - spans: partition → first and last offset of telemetry that are to be answered, for a backfill; none: everything.
    - inherited: partition → state of another deployment's shard that its devices begin with.
    - schemas: what the messages are that `rekey` reads (topic "telemetry") and writes (topic "rekeyed", which has `partitions`).
    """

    job: str
    namespace: str
    deployment: str
    plan: str
    parameters_end: int
    bootstrap: str
    topics: dict[str, str]
    partitions: int
    start_offsets: dict[int, int]
    parallelism: int = 2
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    frame_ms: int = 20
    checkpoint_ms: int = 2000
    transaction_timeout_ms: int = 600_000
    buffer_timeout_ms: int = 2
    bundle_ms: int = 5
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    snapshot_every_ms: int = 300_000
    hold_max_bytes: int = 67_108_864
    kafka: dict[str, str] = {}
    store: str = ""
    store_prefixes: tuple[str, ...] = ()
    v: int = VERSION
    generation: int = 0
    line: int = 0
    upgrade: Upgrade | None = None
    code: tuple[str, ...] = ()
    schemas: tuple[Schema, ...] = ()
    spans: dict[int, tuple[int, int]] = {}
    inherited: dict[int, Inherited] = {}

    @property
    def name(self) -> str:
        """Of the deployment's jobs, one after the other."""
        return f"{self.namespace}.{self.deployment}"

    @property
    def group(self) -> str:
        """The consumer group that telemetry is read as."""
        return f"{self.name}.{self.line}" if self.line else self.name

    @property
    def transactions(self) -> str:
        """What the transactional ids of the output begin with."""
        return f"swapstream.{self.name}.output" + (f".{self.line}" if self.line else "")

    def assignment(self) -> Assignment:
        """What each shard of a job that scores is told."""
        return Assignment(
            self.namespace, self.deployment, self.topics["telemetry"], self.plan, self.parameters_end, max_held=self.hold_max_bytes,
            snapshot_every_ms=self.snapshot_every_ms if "snapshots" in self.topics else 0, generation=self.generation,
            upgrade=self.upgrade, partitions=len(self.start_offsets), spans=self.spans, inherited=self.inherited,
        )  # fmt: skip

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def read(cls, path: Path) -> JobSpec:
        """Raises InvalidSettings."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidSettings(f"job specification {path}: {error}") from error


def check_restorable(before: JobSpec, after: JobSpec, savepoint: bool) -> None:
    """Whether a job may go on, as `after`, from the state of one that ran as `before`: a checkpoint, or with `savepoint` a
    savepoint in Flink's canonical format. Raises InvalidSettings naming the setting. Every setting not named here may change.
    """
    for role in ("telemetry", "parameters"):
        _same(f"topics.{role}", before.topics.get(role), after.topics.get(role), "state holds offsets of the old topic")
    _same("partitions of telemetry", before.partitions, after.partitions, "state is placed by their number")
    if not savepoint:
        _same("job.state_backend", before.state_backend, after.state_backend,
              "one can't read the other's checkpoints, only savepoints in canonical format")
    if before.delivery == "exactly_once":
        # An at-least-once sink commits nothing, so what the checkpoint left to be committed would be lost.
        _same("delivery", before.delivery, after.delivery, "what the checkpoint has not committed yet would be lost")


def _same(setting: str, before: object, after: object, why: str) -> None:
    if before != after:
        raise InvalidSettings(f"{setting} was {before} and is {after}: it may not change where state is restored, since {why}; "
                              "set it back, or start without --from")
