"""An upgrade under way, of whatever mode, from its beginning or from where it was interrupted: what it is to become, how far it is, and
what shards say of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from swapstream.models.errors import ClusterError, SwapstreamError
from swapstream.scripts.acknowledge import Ledger
from swapstream.scripts.bounds import offsets_at
from swapstream.scripts.compatibility import Intended
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.refusal import tell
from swapstream.scripts.steps import Steps
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Mode, Progress, ProgressFile


def begun(order: UpgradeOrder, intended: Intended, mode: Mode, step: str, job_id: str = "", directory: str = "") -> Progress:
    """What is written down of one that begins with this step."""
    after, now, upgrade = intended.after, intended.known.in_force, intended.after.upgrade
    assert upgrade is not None
    return Progress(
        order.namespace, order.deployment, mode, step, upgrade.plan, upgrade.epoch, now.plan, now.epoch, after.generation,
        intended.before.generation, job_id, intended.found.job_id, int(time.time() * 1000), directory,
        who=order.author.who, why=order.author.why,
    )  # fmt: skip


@contextmanager
def told(order: UpgradeOrder, what: str) -> Iterator[None]:
    """What fails inside stands on the ledger as well."""
    try:
        yield
    except SwapstreamError as error:
        say_why(order, what, error)
        raise


def say_why(order: UpgradeOrder, what: str, error: BaseException) -> None:
    """On the ledger, where that is possible: the reason itself is what matters."""
    with suppress(ClusterError):
        tell(order.environment, order.namespace, order.deployment, order.author.who, f"{what}: {str(error) or type(error).__name__}")


class UnderWay:
    """One of them. `progress` is what its file says, or will when the first step is done."""

    def __init__(self, order: UpgradeOrder, steps: Steps, flink: JobOperator, progress: Progress) -> None:
        self.order, self.steps, self.flink, self.progress = order, steps, flink, progress
        self.environment, self.name = order.environment, order.deployment
        self.deployments = Deployments(order.environment)
        self.file = ProgressFile(self.deployments, self.name)

    def _at(self, step: str, **known: Any) -> None:
        """Write down that this step is about to act."""
        self.progress = self.file.save(self.progress.at(step, **known))

    def _ledger(self) -> Ledger:
        """From when the upgrade began: what shards said before an interruption counts."""
        return Ledger(self.environment, offsets_at(self.environment, self.environment.topics.ledger.name, self.progress.started))
