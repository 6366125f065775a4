"""An environment: one YAML file in conf/ that says where the broker and Flink are, what topics are called, how jobs run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidSettings, UnknownName

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local broker that `up` starts on loopback, or, with `bootstrap`, one that somebody else runs."""

    port: int = 9092
    controller_port: int = 9093
    memory: str = "512m"
    bootstrap: str | None = None

    @property
    def servers(self) -> str:
        return self.bootstrap or f"127.0.0.1:{self.port}"


class Flink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local standalone cluster. Ports are TCP ports on loopback, memory is in the JVM's notation."""

    rest_port: int = 8081
    rpc_port: int = 0
    taskmanagers: int = 1
    slots: int = 4
    jobmanager_memory: str = "1024m"
    taskmanager_memory: str = "2560m"


class JobDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job runs with unless `submit` says otherwise. Times in milliseconds."""

    namespace: str = "prod"
    parallelism: int = 2
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    frame_ms: int = 20
    checkpoint_ms: int = 2000
    transaction_timeout_ms: int = 600_000


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A topic as it should be created."""

    name: str
    partitions: int = 1
    compacted: bool = False
    config: dict[str, str] = {}


class Topics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The role of each topic, and its name here."""

    telemetry: Topic = Topic("telemetry", 4)
    parameters: Topic = Topic("parameters", 1, compacted=True)
    scores: Topic = Topic("scores", 4)
    features: Topic = Topic("features", 4)
    anomalies: Topic = Topic("anomalies", 4)
    dead_letters: Topic = Topic("dead-letters", 4)
    ledger: Topic = Topic("ledger", 1)
    labels: Topic = Topic("labels", 1)


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One environment. `directory` holds everything that runs (logs, checkpoints, Kafka's log, the model store)."""

    directory: str = ".swapstream"
    broker: Broker = Broker()
    flink: Flink = Flink()
    job: JobDefaults = JobDefaults()
    topics: Topics = Topics()

    @property
    def path(self) -> Path:
        return ROOT / self.directory

    @property
    def store(self) -> Path:
        return self.path / "store"


def load_environment(name: str) -> Environment:
    """Read conf/NAME.yaml or a YAML file. Raises UnknownName, InvalidSettings."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONF / f"{name}.yaml"
    if not path.is_file():
        raise UnknownName(f"environment {name!r}: {path} does not exist; give a name in conf/ or a YAML file")
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Environment)
    except msgspec.DecodeError as error:
        raise InvalidSettings(f"{path}: {error}") from error
