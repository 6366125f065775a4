"""`upgrade --mode savepoint`: the job stops with a savepoint, and the new one goes on from it.

    prepare   the new job is started as far as that goes without its state     the old job runs; a failure changes nothing
    stop      the old job stops with a savepoint
    start     the new job takes the state over and holds all input
    release   a cut at arrival lets it begin
    confirm   its first checkpoint behind that                                 until here a failure is undone (undoing.py)
    promote   it is the deployment's job                                       from here on only another upgrade leads back

Each step is written down before it acts, so that whoever is interrupted can run the command again.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, SwapstreamError
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Ledger
from swapstream.scripts.compatibility import Intended, check
from swapstream.scripts.controller import Controller
from swapstream.scripts.downtime import OutputTimes
from swapstream.scripts.flink_cli import new_job_id
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.intending import intend
from swapstream.scripts.job_operator import JobOperator, job_operator
from swapstream.scripts.known import known_of
from swapstream.scripts.lag import Lag
from swapstream.scripts.new_job import NewJob
from swapstream.scripts.publish import publish
from swapstream.scripts.savepoint_files import Saved, Shelf, held_by, new_id
from swapstream.scripts.settling import behind_now, settle
from swapstream.scripts.steps import Steps
from swapstream.scripts.stopping import stop_with_savepoint
from swapstream.scripts.submission import require_slots
from swapstream.scripts.undoing import undo
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Progress
from swapstream.scripts.upgrading import UnderWay, begun, say_why, told

STEPS = ("prepare", "stop", "start", "release", "confirm", "promote")
SAVING_S = 600.0
"""Seconds that a savepoint may take."""


def savepoint_upgrade(order: UpgradeOrder, steps: Steps) -> dict[str, Any]:
    """Replace the job; returns what is to be told of it. Raises the reason why not, with the old job running."""
    flink = job_operator(order.environment)
    with told(order, "upgrade refused"), steps.step("check") as step:
        intended = intend(order, "savepoint", flink)
        require_slots(flink, intended.after.parallelism, intended.before.parallelism)
        step.result = check(order.environment, intended, order.author)
        publish(order.environment, order.namespace, intended.parts, order.author)  # nothing runs it yet
    upgrade = SavepointUpgrade(order, steps, flink, begun(order, intended, "savepoint", STEPS[0], new_job_id(), new_id(intended.found)))
    upgrade.write(intended)
    return upgrade.run(fresh=True)


def resume_savepoint(order: UpgradeOrder, steps: Steps, progress: Progress) -> dict[str, Any]:
    """Finish an upgrade that was interrupted, or its undoing."""
    if progress.step == "undo":
        return abort_savepoint(order, steps, progress)
    return SavepointUpgrade(order, steps, job_operator(order.environment), progress).run(fresh=False)


def abort_savepoint(order: UpgradeOrder, steps: Steps, progress: Progress) -> dict[str, Any]:
    """Go back to the job before. Raises Conflict where the new one has put out something that stays."""
    return {"mode": "savepoint", **undo(order, steps, job_operator(order.environment), progress)}


class SavepointUpgrade(UnderWay):
    """One upgrade under way, from its beginning or from where it was interrupted."""

    def __init__(self, order: UpgradeOrder, steps: Steps, flink: JobOperator, progress: Progress) -> None:
        super().__init__(order, steps, flink, progress)
        self.first = STEPS.index(progress.step)
        self.shelf, self.output = Shelf(order.environment, order.deployment), OutputTimes(order.environment)
        self.before = JobSpec.read(self.deployments.spec(self.name))
        self.behind: dict[int, Lag] = {}
        self.saved: Saved | None = None
        self.silent_since: Future[int | None] | None = None
        self.downtime: float | None = None
        self.threads = ThreadPoolExecutor(1)

    def write(self, intended: Intended) -> None:
        """Everything that is needed to go on after an interruption. The green record is not the keeper's to start."""
        after = intended.after
        green = msgspec.structs.replace(
            intended.found.submitted(self.progress.job_id), green=True, desired="stopped", earlier=(), parallelism=after.parallelism,
            generation=after.generation, line=after.line,
        )  # fmt: skip
        with self.deployments.lock(self.name):
            after.write(self.deployments.spec(self.name, green=True))
            self.deployments.save(green)
            self.file.save(self.progress)

    def run(self, fresh: bool) -> dict[str, Any]:
        """`fresh`: nobody has begun it before. Raises the reason why it was undone, or why it could not even be undone."""
        try:
            whose = (self.environment, self.order.namespace, self.name)
            with Controller(*whose, self.order.author) as controller, closing(self._ledger()) as ledger:
                job = self._forward(controller, ledger, fresh)
        except BaseException as error:
            self._undo(error)
            raise
        finally:
            self.threads.shutdown(wait=False)
        return self._done(job)

    def _undo(self, error: BaseException) -> None:
        """Not behind the point of no return. Raises ClusterError with both reasons when that fails as well."""
        if self.progress.step == "promote":
            return
        reason = str(error) or type(error).__name__
        say_why(self.order, "upgrade given up", error)
        try:
            undo(self.order, self.steps, self.flink, self.progress)
        except Conflict as stays:
            raise ClusterError(f"{reason}; {stays}") from error
        except SwapstreamError as second:
            again = f"; run `swapstream upgrade {self.name} --abort`" if self.file.find() else ""
            raise ClusterError(f"{reason}; undoing the upgrade failed: {second}{again}") from error

    # -- the steps

    def _forward(self, controller: Controller, ledger: Ledger, fresh: bool) -> NewJob:
        job = self._new_job()
        if self._todo("prepare"):
            job = self._prepare(controller, job if fresh else self._another(job))
        if self._todo("stop"):
            self._stop()
        if self._todo("start"):
            job = self._start(controller, ledger, job)
        if self._todo("release"):
            self._release(controller)
        if self._todo("confirm"):
            self._confirm(self._cut(controller), ledger, job)
        self._promote()
        return job

    def _todo(self, step: str) -> bool:
        return self.first <= STEPS.index(step)

    def _new_job(self) -> NewJob:
        """As it is written down; promoted before an interruption, or half of it, it is the deployment's."""
        if self.progress.step == "promote":
            self.deployments.promote(self.name)
        green = self.deployments.find(self.name, green=True)
        record = green or self.deployments.require(self.name)
        return NewJob(self.flink, self.deployments, record, JobSpec.read(self.deployments.spec(self.name, record.green)))

    def _another(self, job: NewJob) -> NewJob:
        """The same once more, as another Flink job: the one before has ended, or was never taken."""
        job.end()
        with self.deployments.lock(self.name):
            record = msgspec.structs.replace(job.record, job_ids=(new_job_id(),))
            self.deployments.save(record)
            self._at(self.progress.step, job_id=record.job_id)
        return self._new_job()

    def _prepare(self, controller: Controller, job: NewJob) -> NewJob:
        with self.steps.step("prepare the new job") as step:
            self._require_epoch(controller)
            msgspec.structs.replace(job.told, parameters_end=controller.definitions.position).write(
                self.deployments.spec(self.name, green=True)
            )
            with suppress(ClusterError):  # a user who may not ask for it can upgrade all the same
                self.behind = behind_now(self.environment, self.before.group)
            self.saved = self._described()
            job.announce(self.order.timeout)
            step.result = f"generation {job.told.generation}, job {job.job_id}"
        return job

    def _require_epoch(self, controller: Controller) -> None:
        now = controller.in_force.epoch if controller.in_force else 0
        if now != self.progress.based_on:
            raise Conflict(f"{self.progress.full_name} was at epoch {self.progress.based_on} and is at {now} by now: somebody else "
                           "changed its plan; run it again")  # fmt: skip

    def _stop(self) -> None:
        with self.steps.step("stop the old job with a savepoint") as step:
            with self.deployments.lock(self.name):
                found = self.deployments.require(self.name)  # the keeper may have brought it back meanwhile
                self._at("stop", hands_off=True, job_before=found.job_id)
            savepoint = stop_with_savepoint(
                self.flink, self.shelf, self.progress.job_before, self.progress.directory, self._format(), SAVING_S,
                self.progress.trigger, lambda trigger: self._at("stop", trigger=trigger),
            )  # fmt: skip
            self._at("start", savepoint=savepoint)
            step.result = savepoint

    def _format(self) -> Any:
        after = JobSpec.read(self.deployments.spec(self.name, green=True))
        return "native" if self.before.state_backend == after.state_backend == "rocksdb" else "canonical"

    def _start(self, controller: Controller, ledger: Ledger, job: NewJob) -> NewJob:
        with self.steps.step("start the new job from it, holding all input") as step:
            if self.first > STEPS.index("prepare") and self.flink.state(job.job_id) in (None, *ENDED):
                job = self._another(job)  # whoever had prepared it is gone
            self._originate(job)
            job.begin(self.progress.savepoint)
            controller.prepare(self.progress.plan, job.told.generation)  # wakes shards of which no record comes
            self.silent_since = self.threads.submit(self.output.last)
            self._keep(self.saved or self._described())
            job.entered(ledger, range(self.before.partitions), self.order.timeout)
            step.result = f"{self.before.partitions} shards"
        return job

    def _originate(self, job: NewJob) -> None:
        """The keeper starts from there as well, until there is a checkpoint."""
        with self.deployments.lock(self.name):
            self.deployments.save(msgspec.structs.replace(job.record, origin=self.progress.savepoint))

    def _described(self) -> Saved:
        """What the savepoint is to hold, or holds."""
        known, progress = known_of(self.environment, self.order.namespace, self.name), self.progress
        plan = known.plan(progress.plan_before)
        return Saved(progress.directory, "", "", 0, self._format(), self.before, progress.based_on, plan.name, plan.digest, held_by(plan),
                     True, progress.who, progress.why)  # fmt: skip

    def _keep(self, saved: Saved) -> None:
        """Beside the savepoint."""
        place, job, now = self.progress.savepoint, self.progress.job_before, int(time.time() * 1000)
        self.shelf.save(msgspec.structs.replace(saved, location=place, job_id=job, taken=now))

    def _release(self, controller: Controller) -> None:
        with self.steps.step("release it") as step:
            self._at("release", released=int(time.time() * 1000))
            if self._written(controller) is None:
                self._require_epoch(controller)
                controller.arrive(self.progress.plan)
            step.result = f"epoch {self._cut(controller).epoch}"

    def _written(self, controller: Controller) -> Cut | None:
        """The cut at arrival that releases the new job."""
        wanted = self.progress.epoch, self.progress.plan
        cuts = [step.cut for step in controller.history if step.cut and step.how == "arrival"]
        return next((cut for cut in cuts if (cut.epoch, cut.plan) == wanted), None)

    def _cut(self, controller: Controller) -> Cut:
        found = self._written(controller)
        if found is None:
            raise ClusterError(f"{self.progress.full_name}: there is no cut at arrival of epoch {self.progress.epoch}")
        return found

    def _confirm(self, cut: Cut, ledger: Ledger, job: NewJob) -> None:
        with self.steps.step("confirm that it answers") as step:
            self._at("confirm")
            job.activated(ledger, range(self.before.partitions), cut, self.order.timeout)
            job.checkpointed(self.order.timeout)
            self.downtime = self._measured()
            step.result = "its first checkpoint is complete"

    def _measured(self) -> float | None:
        """Seconds from the old job's last message to the new one's first; None where that can't be told."""
        with suppress(ClusterError):
            last = self.silent_since.result() if self.silent_since else None
            first = self.output.first_after(last) if last is not None else None
            return (first - last) / 1000 if first is not None and last is not None else None
        return None

    def _promote(self) -> None:
        self._at("promote")
        self.deployments.promote(self.name)
        self.file.remove()

    def _done(self, job: NewJob) -> dict[str, Any]:
        job.tidy()
        with self.steps.step("wait until it is as little behind as before") as step:
            step.result = settle(self.environment, job.told.group, self.behind, job.told.checkpoint_ms, self.order.timeout)
        progress = self.progress
        return {"mode": "savepoint", "plan_digest": progress.plan, "epoch": progress.epoch, "generation": progress.generation,
                "job": progress.job_id, "parallelism": job.told.parallelism, "savepoint": progress.savepoint,
                "downtime_s": self.downtime}  # fmt: skip
