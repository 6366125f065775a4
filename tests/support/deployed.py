"""A deployment whose job is to be replaced, on topics in memory and a Flink that only remembers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author, Part, publish
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import ProgressFile
from tests.support.flink import FakeFlink
from tests.support.shards import deployable
from tests.support.topics import Topics

ME = Author("me")
PLAN, OTHER = deployable("d", champion="a:1"), deployable("d", champion="b:1")
SHARDS = (0, 1)


class Killed(BaseException):
    """-9: nobody cleans up."""


class Deployed:
    """prod.d, of generation 1, which runs as Flink job "old" under PLAN; OTHER is published as well."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.topics, self.flink = patch, Topics(patch), FakeFlink()
        self.environment = Environment(directory=str(directory))
        self.deployments = Deployments(self.environment)
        self.file = ProgressFile(self.deployments, "d")
        self.flink.known["old"] = "RUNNING"
        for one in (PLAN, OTHER):
            publish(self.environment, "prod", [Part(*definition) for definition in one.definitions()], ME)
        self.deployments.save(Deployment("prod", "d", "detect", 2, generation=1, generations=1).submitted("old"))
        topics = {role: topic.name for role, topic in self.environment.topics.by_role().items()}
        told = JobSpec("detect", "prod", "d", PLAN.digest, 0, "b:1", topics, 2, dict.fromkeys(SHARDS, 0), generation=1)
        told.write(self.deployments.spec("d"))

    def order(self, timeout: float = 5.0) -> UpgradeOrder:
        return UpgradeOrder(self.environment, "d", ME, timeout=timeout)

    def tell(self, event: str, partition: int, generation: int, **more: Any) -> None:
        """What a shard says on the ledger."""
        row = {"namespace": "prod", "deployment": "d", "event": event, "partition": partition, "generation": generation, **more}
        self.topics.send(self.environment.topics.ledger.name, b"", msgspec.json.encode(row))

    def kill(self, owner: Any, method: str, behind: bool, act: Callable[[], Any], cleaning: tuple[type, str]) -> None:
        """The command that acts is killed where a method is first called, or when it returns; `cleaning`: what it does where it fails."""
        real = getattr(owner, method)

        def call(*arguments: Any, **named: Any) -> Any:
            self.patch.setattr(owner, method, real)
            if behind:
                real(*arguments, **named)
            raise Killed

        self.patch.setattr(owner, method, call)
        with self.patch.context() as patch:
            patch.setattr(*cleaning, lambda *_: None)
            with pytest.raises(Killed):
                act()
