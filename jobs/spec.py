"""What a job is told at submit: one JSON file, read where the job's graph is built."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from swapstream.models.errors import InvalidSettings

VERSION = 1
MAX_PARALLELISM = 128


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job of one deployment.

    - plan: digest of the plan before any token. parameters_end: how far `parameters` had been written at submit.
    - topics: role → name. partitions: of telemetry; shards are spread by it, so it must not change while state lives.
    - start_offsets: partition → first offset to read, resolved before `parameters_end`; partitions that come later start at 0.
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
    v: int = VERSION

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.deployment}"

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def read(cls, path: Path) -> JobSpec:
        """Raises InvalidSettings."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidSettings(f"job specification {path}: {error}") from error
