"""Behind the tokens of a handover: blue ends when each of its shards has retired and all that it wrote is committed, and green is the
deployment's job. From here on only another upgrade leads back."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Row
from swapstream.scripts.controller import Controller
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.green import Green
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.retiring import Blue, Retirement, retire
from swapstream.scripts.savepoint_files import Shelf
from swapstream.scripts.steps import Steps
from swapstream.scripts.stopping import end
from swapstream.scripts.transactions import abort_all
from swapstream.scripts.unanswered import described, unanswered
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Progress
from swapstream.scripts.upgrading import UnderWay


class Succession(UnderWay):
    """One under way. What it does may be done again, from wherever it was interrupted."""

    def __init__(self, order: UpgradeOrder, steps: Steps, flink: JobOperator, progress: Progress) -> None:
        super().__init__(order, steps, flink, progress)
        self.green = Green(flink, self.deployments, self.name)
        self.blue = blue_of(order, flink)

    def finish(self, retirement: Retirement, ledger: Iterable[Row | None]) -> dict[str, Any]:
        """Raises ClusterError naming the shards, or the records that nobody has answered, when blue does not come to its end."""
        if self.progress.step != "promote":
            with self.steps.step("wait until the old job has retired, and has committed all that it wrote") as step:
                self._at("retire")
                if not retire(retirement, self.blue, ledger, self.order.timeout, self._wake):
                    raise self._unfinished(retirement)
                step.result = f"{len(retirement.rows)} shards"
        self._promote()
        return self._told(retirement)

    def without_blue(self, cut: Cut) -> dict[str, Any]:
        """Give up an old job that does not come back. Raises Conflict where it does."""
        whose, state = self.progress.full_name, self.flink.state(self.deployments.require(self.name).job_id)
        if self.progress.step != "promote" and state not in (None, *ENDED):
            raise Conflict(f"{whose}: the tokens are written, and generation {self.progress.generation} answers behind them. "
                           f"`swapstream upgrade {self.name}` finishes the upgrade; another handover leads back")  # fmt: skip
        missing = unanswered(self.environment, cut, self.progress.started)
        with self.steps.step("give up the old job") as step:
            abort_all(self.environment, self.blue.transactions)
            step.result = f"nobody has answered {described(cut.topic, missing)}" if missing else "no record is missing"
        self._promote()
        return self._told(Retirement(cut)) | {"missing": missing}

    def _wake(self) -> None:
        """Blue's shards are asked something, since they speak when a record comes."""
        with suppress(Conflict), Controller(self.environment, self.order.namespace, self.name, self.order.author) as controller:
            controller.prepare(self.progress.plan, self.progress.predecessor)

    def _unfinished(self, retirement: Retirement) -> ClusterError:
        whose, seconds, again = self.progress.full_name, self.order.timeout, f"`swapstream upgrade {self.name}` waits once more"
        if self.blue.execution():
            shards = retirement.waiting or sorted(retirement.rows)
            return ClusterError(f"shards {shards} of {whose} have not handed over, and committed what they wrote, in {seconds:g} s; the "
                                f"tokens are written, and both jobs run: {again}")  # fmt: skip
        missing = described(retirement.cut.topic, unanswered(self.environment, retirement.cut, self.progress.started))
        lost = f"nobody has answered {missing}" if missing else "no record is missing"
        return ClusterError(f"the old job of {whose} has not come back in {seconds:g} s; {lost}; {again}, and with --abort gives it up")

    # -- the end

    def _promote(self) -> None:
        with self.steps.step("end the old job") as step:
            if self.green.record:
                self._first_checkpoint()
            self._at("promote")
            self.deployments.promote(self.name)
            states, shelf = self.flink.states(), Shelf(self.environment, self.name)
            for job in self.deployments.require(self.name).earlier:
                if job in states:
                    end(self.flink, shelf, job)
            shelf.discard(self.progress.savepoint)
            self.file.remove()
            step.result = f"generation {self.progress.generation} is the deployment's job"

    def _first_checkpoint(self) -> None:
        """From here on it is resumed from what it has saved itself."""
        until = time.monotonic() + self.order.timeout
        while not self._saved_itself():
            if time.monotonic() > until:
                raise ClusterError(f"the new job {self.green.job_id()} has completed no checkpoint in {self.order.timeout:g} s; "
                                   f"`swapstream upgrade {self.name}` waits once more")  # fmt: skip
            time.sleep(0.2)

    def _saved_itself(self) -> bool:
        with suppress(ClusterError):
            return bool(self.flink.rest.checkpoints(self.green.job_id()).get("counts", {}).get("completed"))
        return False

    def _told(self, retirement: Retirement) -> dict[str, Any]:
        """What the command shows beside its steps."""
        progress, cut = self.progress, retirement.cut
        return {"mode": "handover", "plan_digest": progress.plan, "epoch": cut.epoch, "generation": progress.generation,
                "predecessor": progress.predecessor, "job": self.deployments.require(self.name).job_id,
                "committed_ms": progress.released, "shards": list(retirement.rows.values())}  # fmt: skip


def blue_of(order: UpgradeOrder, flink: JobOperator) -> Blue:
    """The job that answers when an upgrade begins."""
    deployments = Deployments(order.environment)
    told = JobSpec.read(deployments.spec(order.deployment))
    return Blue(order.environment, lambda: deployments.require(order.deployment).job_id, f"{told.transactions}-", flink.rest)
