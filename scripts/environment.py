"""An environment: one YAML file in conf/ with where the broker and Flink are, what topics are called, how jobs run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.models.yaml_file import read_mapping
from swapstream.scripts.security import PREFIX, Security, from_variables

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
JARS = ROOT / ".jars"
VARIABLE, DEFAULT = "SWAPSTREAM_ENV", "local"

Port = Annotated[int, Meta(ge=0, le=65535)]
Memory = Annotated[str, Meta(pattern=r"^[1-9][0-9]*[mg]$")]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,200}$")]
Url = Annotated[str, Meta(pattern=r"^(http://[^/:]+:[0-9]{1,5}|kubernetes://[a-z0-9-]{1,63})$")]
Storage = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*:/")]
Delivery = Literal["exactly_once", "at_least_once"]
StateBackend = Literal["hashmap", "rocksdb"]
Operator = Literal["command", "kubernetes"]


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local broker that `up` starts on loopback, or, with `bootstrap`, one that somebody else runs."""

    port: Port = 9092
    controller_port: Port = 9093
    memory: Memory = "512m"
    bootstrap: str | None = None
    security: Security = Security()

    def __post_init__(self) -> None:
        if self.security.protocol != "PLAINTEXT" and not self.bootstrap:
            raise ValueError("`security` is for a broker that somebody else runs: name it with `bootstrap` "
                             f"(or {PREFIX}BOOTSTRAP); the one that `up` starts listens on loopback, without it")

    @property
    def servers(self) -> str:
        return self.bootstrap or f"127.0.0.1:{self.port}"


class Flink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local standalone cluster, or, with `rest` (http://host:port), one that somebody else runs.

    `operator` starts jobs: `command` is Flink's own, `flink run`; with `kubernetes` each job is a FlinkDeployment, made of the file
    `manifest`, in the namespace that `rest` names as kubernetes://NAMESPACE.

    Ports are TCP ports on loopback, memory is of a whole process, as in 2560m or 4g. `checkpoints` is where another's cluster
    keeps state (a URI that all its hosts reach); without it that is as the cluster's own configuration says.
    """

    rest: Url | None = None
    operator: Operator = "command"
    manifest: str = "conf/container/flinkdeployment.yaml"
    checkpoints: Storage | None = None
    rest_port: Port = 8081
    rpc_port: Port = 0
    taskmanagers: Count = 1
    slots: Count = 4
    jobmanager_memory: Memory = "1024m"
    taskmanager_memory: Memory = "2560m"

    def __post_init__(self) -> None:
        if (self.operator == "kubernetes") != (self.rest or "").startswith("kubernetes:"):
            raise ValueError(f"`operator` is {self.operator} and `rest` {self.rest}: kubernetes wants kubernetes://NAMESPACE, which "
                             "command does not know")

    @property
    def url(self) -> str:
        return self.rest or f"http://127.0.0.1:{self.rest_port}"


PACES = {
    "exactly_once": {"frame_ms": 100, "buffer_timeout_ms": 10, "bundle_ms": 10},
    "at_least_once": {"frame_ms": 30, "buffer_timeout_ms": 2, "bundle_ms": 5},
}
"""Where results wait for a checkpoint anyway, large frames cost no time that anybody sees: a fifth more readings a second."""


class JobDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job runs with unless `submit` says otherwise. Times in milliseconds.

    - frame_ms: how long records are collected into a frame. buffer_timeout_ms: how long Flink holds back what it sends from task
      to task. bundle_ms: how long it collects what it gives to Python. Shorter is sooner, longer is cheaper. None: as PACES says
      for the delivery.
    - checkpoint_ms: under exactly_once results become visible that often.
    - transaction_timeout_ms: how long an outage may last before what it left uncommitted is lost.
    - snapshot_every_ms: how often, in log time, each shard publishes its state, besides at cuts; 0: never. `verify` starts there.
    - hold_max_bytes: how much input each shard may hold back while it waits for a definition or an upgrade; above that the job restarts
      from its checkpoint.
    - state_backend: hashmap keeps state in memory, rocksdb on disk.
    """

    namespace: Name = "prod"
    parallelism: Count = 2
    delivery: Delivery = "exactly_once"
    frame_ms: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    buffer_timeout_ms: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    bundle_ms: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    checkpoint_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 2000
    transaction_timeout_ms: Annotated[int, Meta(ge=1000, le=86_400_000)] = 600_000
    state_backend: StateBackend = "hashmap"
    snapshot_every_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 300_000
    hold_max_bytes: Annotated[int, Meta(ge=1_048_576, le=1_073_741_824)] = 67_108_864

    def __post_init__(self) -> None:
        if self.transaction_timeout_ms < 2 * self.checkpoint_ms:
            raise ValueError(f"`transaction_timeout_ms` is {self.transaction_timeout_ms}; it must be at least twice `checkpoint_ms` "
                             f"({self.checkpoint_ms}), or transactions time out before their checkpoint commits them")

    def pace(self, delivery: str) -> dict[str, int]:
        """frame_ms, buffer_timeout_ms and bundle_ms under a delivery guarantee."""
        return {name: usual if (set_ := getattr(self, name)) is None else set_ for name, usual in PACES[delivery].items()}


class Models(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where models lie: `store`, any URL that fsspec reaches; left out, a folder in the environment's directory.

    `allowed`: the prefixes of URLs from which workers fetch models too large for `parameters`; left out, the store alone.
    """

    store: Storage | None = None
    allowed: tuple[Storage, ...] = ()


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A topic as it should be created."""

    name: Name
    partitions: Count = 1
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
    snapshots: Topic = Topic("snapshots", 1)

    def by_role(self) -> dict[str, Topic]:
        return {role: getattr(self, role) for role in self.__struct_fields__}


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One environment. `directory` holds everything that runs (logs, checkpoints, Kafka's log, the model store).

    `keys` is where the private keys are that commands sign with, `key` the name of the one to be used where there are several.
    """

    directory: str = ".swapstream"
    keys: str = ""
    key: str = ""
    broker: Broker = Broker()
    flink: Flink = Flink()
    job: JobDefaults = JobDefaults()
    models: Models = Models()
    topics: Topics = Topics()

    @property
    def path(self) -> Path:
        """`directory` as an absolute path; a relative one is relative to the project, not to where a command is run."""
        return ROOT / self.directory

    @property
    def keyring(self) -> Path:
        """`keys` as an absolute path, by default a folder in `directory`."""
        return ROOT / self.keys if self.keys else self.path / "keys"

    @property
    def manifest(self) -> Path:
        """What a FlinkDeployment is made of; a relative path is relative to the project."""
        return ROOT / self.flink.manifest

    @property
    def starts_anything(self) -> bool:
        """Whether `up` has a process to start: broker and Flink may both be somebody else's."""
        return not (self.broker.bootstrap and self.flink.rest)

    def reading(self, topic: str) -> Environment:
        """As a job has it that reads another topic as telemetry."""
        return msgspec.structs.replace(self, topics=msgspec.structs.replace(self.topics, telemetry=Topic(topic)))

    @property
    def store(self) -> Path | str:
        """A folder, or a URL."""
        return self.models.store or self.path / "store"

    @property
    def jobs(self) -> Path:
        """Where each deployment's file is."""
        return self.path / "jobs"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"


class Recorded(msgspec.Struct, frozen=True):
    """What `up` chose, in <directory>/cluster.json: ports that the environment leaves open, supervisord's socket."""

    broker: Port = 0
    controller: Port = 0
    rest: Port = 0
    rpc: Port = 0
    socket: str = ""


def environment_file(name: str) -> Path:
    """conf/NAME.yaml, or a YAML file by its path, absolute. Raises UnknownName."""
    path = Path(name).resolve() if name.endswith((".yaml", ".yml")) else CONF / f"{name}.yaml"
    if not path.is_file():
        raise UnknownName(f"environment {name!r}: {path} does not exist; give a name in conf/ or a YAML file")
    return path


def load_environment(name: str | None = None) -> Environment:
    """Read conf/NAME.yaml or a YAML file; a port of 0 becomes the one that `up` recorded, if it did.

    Without a name it is the variable SWAPSTREAM_ENV's, else `local`. Raises UnknownName, InvalidSettings.
    """
    declared = declared_environment(name or os.environ.get(VARIABLE) or DEFAULT)
    return with_recorded(declared, recorded(declared))


def declared_environment(name: str) -> Environment:
    """The environment as its file says, open ports as 0. Raises UnknownName, InvalidSettings."""
    path = environment_file(name)
    try:
        return msgspec.convert(with_variables(read_mapping(path, "environment", InvalidSettings)), Environment)
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"environment {path}: {error}") from error


def with_variables(declared: dict[str, Any], variables: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The file's content with what environment variables say about the broker: where it is, how to prove who one is."""
    if not any(name.startswith(PREFIX) for name in variables):
        return declared
    broker = dict(declared.get("broker") or {})
    broker["bootstrap"] = variables.get(f"{PREFIX}BOOTSTRAP") or broker.get("bootstrap")
    broker["security"] = from_variables(broker.get("security") or {}, variables)
    return declared | {"broker": broker}


def record_file(environment: Environment) -> Path:
    return environment.path / "cluster.json"


def recorded(environment: Environment) -> Recorded:
    """What `up` chose when it was last run here; zeros when it was not. Raises InvalidSettings."""
    path = record_file(environment)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Recorded)
    except FileNotFoundError:
        return Recorded()
    except msgspec.DecodeError as error:
        raise InvalidSettings(f"{path}: {error}; delete it and run `swapstream up`") from error


def with_recorded(environment: Environment, chosen: Recorded) -> Environment:
    """The environment with each port that it leaves open (0) replaced by the chosen one."""
    broker, flink = environment.broker, environment.flink
    return msgspec.structs.replace(
        environment,
        broker=msgspec.structs.replace(broker, port=broker.port or chosen.broker,
                                       controller_port=broker.controller_port or chosen.controller),
        flink=msgspec.structs.replace(flink, rest_port=flink.rest_port or chosen.rest,
                                      rpc_port=flink.rpc_port or chosen.rpc))
