"""`upgrade --mode handover`: the new job (green) runs beside the one that answers (blue), and a token says at which record it takes over.

    savepoint   of blue, which goes on
    start       green begins from it: it builds its state on the same records, and puts out nothing
    catch up    until it reads records as they are written
    token       in each partition: records before it are blue's, those behind it green's; until here a failure ends green, and that is all
    retire      every shard of blue has retired, and what it wrote is committed (succeeding.py)
    promote     green is the deployment's job, and blue ends

Each step is written down before it acts, so that whoever is interrupted can run the command again. Whether the tokens are written, the
cut map on `parameters` tells alone.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, Rejected, SwapstreamError
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Ledger
from swapstream.scripts.catching_up import CatchingUp
from swapstream.scripts.compatibility import Intended, check, check_output
from swapstream.scripts.console import say
from swapstream.scripts.controller import Controller, Swapped
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.green import Green
from swapstream.scripts.intending import intend
from swapstream.scripts.job_operator import JobOperator, job_operator
from swapstream.scripts.publish import publish, read_definitions
from swapstream.scripts.retiring import Retirement
from swapstream.scripts.savepoint_files import Shelf
from swapstream.scripts.savepoints import save
from swapstream.scripts.steps import Steps
from swapstream.scripts.stopping import let_recover
from swapstream.scripts.submission import require_slots
from swapstream.scripts.succeeding import Succession, blue_of
from swapstream.scripts.transactions import abort_all
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Progress
from swapstream.scripts.upgrading import UnderWay, begun, say_why, told

LOOK_AGAIN = 0.5
STEPS = ("savepoint", "start", "catch up", "token", "retire", "promote")


def handover_upgrade(order: UpgradeOrder, steps: Steps) -> dict[str, Any]:
    """Hand over; returns what is to be told of it. Raises the reason why not, with blue answering."""
    flink = job_operator(order.environment)
    with told(order, "upgrade refused"), steps.step("check") as step:
        intended = intend(order, "handover", flink)
        require_knowing(Deployments(order.environment).spec(order.deployment))
        require_slots(flink, intended.after.parallelism)
        check_output(order.environment, intended)
        step.result = check(order.environment, intended, order.author)
    handover = Handover(order, steps, flink, begun(order, intended, "handover", STEPS[0]))
    handover.write(intended)
    return handover.run()


def resume_handover(order: UpgradeOrder, steps: Steps, progress: Progress) -> dict[str, Any]:
    """Finish what was interrupted, or its undoing."""
    handover = Handover(order, steps, job_operator(order.environment), progress)
    if cut := handover.written():
        return handover.go_on(cut)
    return handover.undo() if progress.step == "undo" else handover.run()


def abort_handover(order: UpgradeOrder, steps: Steps, progress: Progress) -> dict[str, Any]:
    """Before the token: as if nothing had been. Behind it blue is given up, if it can't be brought back; raises Conflict if it can."""
    handover = Handover(order, steps, job_operator(order.environment), progress)
    if cut := handover.written():
        return handover.succession().without_blue(cut)
    return handover.undo()


def require_knowing(told: Path) -> None:
    """Raises Rejected: a job of an earlier release would not know what the tokens are, and go on answering. What jobs were told then says
    nothing of generations."""
    if "generation" not in msgspec.json.decode(told.read_bytes()):
        raise Rejected(f"{told}: the job was submitted by an earlier release, whose jobs know no handovers: use --mode savepoint")


class Handover(UnderWay):
    """One under way, from its beginning or from where it was interrupted."""

    def __init__(self, order: UpgradeOrder, steps: Steps, flink: JobOperator, progress: Progress) -> None:
        super().__init__(order, steps, flink, progress)
        self.green = Green(flink, self.deployments, self.name)
        self.answered: dict[int, float] = {}

    def write(self, intended: Intended) -> None:
        """Everything that is needed to go on after an interruption."""
        end = publish(self.environment, self.order.namespace, intended.parts, self.order.author).position
        self.green.write(intended.found, msgspec.structs.replace(intended.after, parameters_end=end))
        self.file.save(self.progress)

    def run(self) -> dict[str, Any]:
        """Up to the token, and on. Raises the reason why it was undone."""
        with closing(self._ledger()) as ledger:
            try:
                self._save()
                self._start()
                swapped = self._hand_over(ledger)
            except BaseException as error:
                self._give_up(error)
                raise
            return self.succession().finish(Retirement(swapped.cut, swapped.committed, self.answered), ledger)

    def go_on(self, cut: Cut) -> dict[str, Any]:
        """Behind the token, after an interruption."""
        with closing(self._ledger()) as ledger:
            return self.succession().finish(Retirement(cut, self.progress.released), ledger)

    def succession(self) -> Succession:
        """What is left to be done behind the tokens."""
        return Succession(self.order, self.steps, self.flink, self.progress)

    def written(self) -> Cut | None:
        """The cut of this handover, if its tokens are written. Raises ClusterError where nobody can tell."""
        cuts = read_definitions(self.environment).cuts(self.order.namespace, self.name)
        return next((cut for cut in cuts if cut.successor == self.progress.generation), None)

    # -- up to the token

    def _save(self) -> None:
        if self.progress.savepoint:
            return
        with self.steps.step("save the state of the job that runs") as step:
            blue, author = self.deployments.require(self.name), self.order.author
            let_recover(self.flink, blue.job_id)
            before = JobSpec.read(self.deployments.spec(self.name))
            saved = save(self.environment, blue, author, before.state_backend == self.green.told.state_backend == "rocksdb")
            self._at("start", savepoint=saved.location, job_before=saved.job_id)
            step.result = saved.location

    def _start(self) -> None:
        with self.steps.step("start the new job from it, mute") as step:
            if self.green.runs:
                self.green.wait(self.order.timeout)
            else:
                self.green.start(self.progress.savepoint, self.order.timeout)
            self._at("catch up", job_id=self.green.job_id())
            step.result = f"generation {self.progress.generation}, job {self.progress.job_id}"

    def _hand_over(self, ledger: Ledger) -> Swapped:
        with Controller(self.environment, self.order.namespace, self.name, self.order.author) as controller:
            self._require_epoch(controller)
            try:
                self._catch_up(controller, ledger)
                return self._write_tokens(controller)
            except Conflict as error:
                raise self._given_way("somebody else took over to change its plan") from error

    def _catch_up(self, controller: Controller, ledger: Ledger) -> None:
        with self.steps.step("wait until it has caught up") as step:
            progress, blue = self.progress, blue_of(self.order, self.flink)
            waiting = CatchingUp(
                self.environment, self.green.told, progress.plan, self.green.job_id, self.flink, self.order.timeout
            )
            until = time.monotonic() + self.order.timeout
            answers = waiting.wait(controller, ledger)
            while blue.execution() is None:  # it may be on its way back, and green with it
                if time.monotonic() > until:
                    raise ClusterError(f"{progress.full_name} does not run: only a job that runs can hand over")
                time.sleep(LOOK_AGAIN)
                answers = waiting.wait(controller, ledger)
            self.answered = {one.partition: one.seconds for one in answers}
            step.result = f"every shard answers within {max(self.answered.values()):.2f} s"

    def _write_tokens(self, controller: Controller) -> Swapped:
        with self.steps.step("write the tokens") as step:
            self._at("token")
            progress = self.progress
            swapped = controller.handover(progress.plan, progress.predecessor, progress.generation, progress.epoch)
            self._at("retire", released=int(swapped.committed))
            step.result = f"epoch {swapped.cut.epoch}: " + ", ".join(
                f"{swapped.cut.topic}-{partition} at {offset}" for partition, offset in sorted(swapped.cut.offsets.items())
            )
        return swapped

    def _require_epoch(self, controller: Controller) -> None:
        now = controller.in_force
        if now and now.epoch != self.progress.based_on:
            what = "a trainer pushed new numbers" if now.how == "update" else "somebody else changed its plan"
            raise self._given_way(f"{what} (epoch {now.epoch})")

    def _given_way(self, reason: str) -> Conflict:
        """Green was started for what follows on one epoch alone."""
        return Conflict(f"{self.progress.full_name}: {reason} after the handover had begun from epoch {self.progress.based_on}, so nothing "
                        "was handed over; run it again, and let trainers (`Updater`, `push --now`) pause until its tokens are written")

    # -- where it fails before

    def _give_up(self, error: BaseException) -> None:
        """Unless the tokens are written, or nobody can tell. Raises ClusterError with both reasons when that fails as well."""
        again = f"run `swapstream upgrade {self.name}` again"
        try:
            if self.written():
                say(f"{self.progress.full_name}: the tokens are written; {again} to finish")
                return
            say_why(self.order, "upgrade given up", error)
            self.undo()
        except SwapstreamError as second:
            raise ClusterError(f"{error}; undoing the upgrade failed: {second}; {again}, with --abort to undo it") from error

    def undo(self) -> dict[str, Any]:
        """As if nothing had been: blue has never stopped. Doing it once more finishes it."""
        with self.steps.step("end the new job; the old one goes on") as step:
            self._at("undo")
            if self.green.record:
                transactions = self.green.told.transactions
                self.green.end()
                abort_all(self.environment, f"{transactions}-")
            Shelf(self.environment, self.name).discard(self.progress.savepoint)
            self.file.remove()
            step.result = f"generation {self.progress.predecessor} answers"
        return {"mode": "handover", "undone": True, "generation": self.progress.predecessor}
