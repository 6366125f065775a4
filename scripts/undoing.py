"""An upgrade by savepoint is given up: the new job ends, what it wrote is aborted, and the job before goes on from the same savepoint.

Sinks of the same line abort, when they start from the savepoint, every transaction that was begun after it.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict
from swapstream.operators.assignment import Upgrade
from swapstream.scripts.checkpoints import newest_checkpoint, resumable, retained
from swapstream.scripts.controller import Controller
from swapstream.scripts.deployments import Deployment
from swapstream.scripts.flink_cli import end_clients, new_job_id
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.history import next_epoch
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.new_job import NewJob
from swapstream.scripts.restoring import made
from swapstream.scripts.savepoint_files import Shelf
from swapstream.scripts.state_file import read_state
from swapstream.scripts.steps import Steps
from swapstream.scripts.stopping import let_finish
from swapstream.scripts.submission import wait_until_running
from swapstream.scripts.upgrade_order import UpgradeOrder
from swapstream.scripts.upgrade_progress import Progress
from swapstream.scripts.upgrading import UnderWay

AWAY_S = 60.0


def undo(order: UpgradeOrder, steps: Steps, flink: JobOperator, progress: Progress) -> dict[str, Any]:
    """Doing it once more finishes it. Raises Conflict where the new job has put out something that stays, ClusterError."""
    return Undoing(order, steps, flink, progress).run()


class Undoing(UnderWay):
    """One upgrade being undone."""

    def run(self) -> dict[str, Any]:
        self._await_flink()
        green = self.deployments.find(self.name, green=True)
        if self.progress.step == "promote":
            raise self._too_late()
        if green and self._answered(green):
            if self.flink.state(green.job_id) in (None, *ENDED):  # lost with its JobManager: nobody else starts it
                self._go_on(green)
            raise self._too_late()
        self._at("undo")
        if green:
            with self.steps.step("end the new job"):
                self._new_job(green).end()
            if self._answered(green):  # in its last moment
                self._go_on(green)
                raise self._too_late()
        with self.steps.step("let the old job go on") as step:
            step.result = self._old_job()
        self.deployments.drop_green(self.name)
        self.file.remove()
        found = self.deployments.require(self.name)
        return {"undone": True, "job": found.job_id, "generation": found.generation, "savepoint": self.progress.savepoint or None}

    def _new_job(self, green: Deployment) -> NewJob:
        return NewJob(self.flink, self.deployments, green, JobSpec.read(self.deployments.spec(self.name, green=True)))

    def _await_flink(self) -> None:
        """A JobManager that has died is back in seconds, and knows no job. Raises ClusterError where it is not."""
        until = time.monotonic() + AWAY_S
        while True:
            try:
                self.flink.states()
                return
            except ClusterError:
                if time.monotonic() > until:
                    raise
                time.sleep(1.0)

    def _too_late(self) -> Conflict:
        progress = self.progress
        return Conflict(f"{progress.full_name}: generation {progress.generation} has answered, and a checkpoint of it is complete: that "
                        f"stays. `swapstream upgrade {self.name}` finishes the upgrade; another one leads back")  # fmt: skip

    def _answered(self, green: Deployment) -> bool:
        """Whether a checkpoint of the new job was completed after it had been released: what it wrote is committed then."""
        released = self.progress.released
        if not released:
            return False
        if any((path / "_metadata").stat().st_mtime * 1000 > released for path in retained(self.environment.checkpoints, green.job_ids)):
            return True
        if not self.environment.flink.rest or self.flink.state(green.job_id) is None:
            return False
        newest = self.flink.rest.checkpoints(green.job_id).get("latest", {}).get("completed") or {}
        return bool(newest.get("latest_ack_timestamp", 0) > released)

    def _go_on(self, green: Deployment) -> None:
        """The new job once more, from the checkpoint that it has completed."""
        job_id = new_job_id()
        self._new_job(green).tidy()
        with self.deployments.lock(self.name):
            self.deployments.save(green.with_job(job_id))
            self._at("promote", job_id=job_id)
        self._run(green, job_id, self.deployments.spec(self.name, green=True), resumable(self.environment.checkpoints, green))

    # -- the old job

    def _old_job(self) -> str:
        """Let it run, if it does not; returns what was done, in words."""
        progress, found = self.progress, self.deployments.require(self.name)
        if found.job_id == progress.job_before:
            if progress.hands_off and not progress.savepoint:
                let_finish(self.flink, found.job_id, self.order.timeout)
            if self.flink.state(found.job_id) not in (None, *ENDED) or not progress.hands_off:
                return "it has not been stopped"
        return self._released_back(found) if progress.released else self._back(found)

    def _back(self, found: Deployment) -> str:
        """The same job, from the state that it ended with: nothing has happened since."""
        found = self._submitted_again(found)
        wait_until_running(self.flink, found.job_id, self.order.timeout)
        return f"job {found.job_id}, from {found.origin}"

    def _submitted_again(self, found: Deployment) -> Deployment:
        """Unless that was done before an interruption."""
        if found.job_id != self.progress.job_before:
            end_clients(found.job_id)
            if self.flink.state(found.job_id) not in (None, *ENDED):
                return found
        origin = self._origin(found)
        self._require_whole(origin, found)
        with self.deployments.lock(self.name):
            again = found.submitted(new_job_id(), origin)
            self.deployments.save(again)
        self._run(again, again.job_id, self.deployments.spec(self.name), origin)
        return again

    def _origin(self, found: Deployment) -> str | None:
        """The savepoint; a job that was lost before that was known goes on as the keeper would let it, or from there if it is newer."""
        if self.progress.savepoint:
            return self.progress.savepoint
        newest = newest_checkpoint(self.environment.checkpoints, found.job_ids)
        there = (Shelf(self.environment, self.name).complete(self.progress.directory), newest.as_uri() if newest else None)
        return max(filter(None, there), key=lambda uri: made(uri) or 0.0, default=found.origin)

    def _require_whole(self, origin: str | None, found: Deployment) -> None:
        """Raises ClusterError where no job can go on from there: then the upgrade is over, and the deployment is stopped."""
        if origin is None or not origin.startswith("file:"):
            return
        try:
            read_state(origin, self.environment.topics.telemetry.name)
        except ClusterError as error:
            with self.deployments.lock(self.name):
                self.deployments.save(found.stopped())
            self.deployments.drop_green(self.name)
            self.file.remove()
            raise ClusterError(
                f"{error}; neither job can go on from there, and {found.full_name} is stopped: `swapstream submit {found.job} --deployment "
                f"{self.name} --from` another savepoint, or `--start committed` to begin without state where it ended"
            ) from error

    def _run(self, record: Deployment, job_id: str, spec: Path, origin: str | None) -> None:
        bundle = Path(record.bundle) if record.bundle else None
        self.flink.run(self.flink.arguments(record.job, spec, record.parallelism, job_id, origin, bundle))

    def _released_back(self, found: Deployment) -> str:
        """The new job was let begin: the plan before takes effect by a cut of its own, at the first record after the savepoint."""
        timeout = self.order.timeout
        with Controller(self.environment, self.order.namespace, self.name, self.order.author) as controller, \
                closing(self._ledger()) as ledger:  # fmt: skip
            told = self._told_again(controller)
            found = self._submitted_again(self.deployments.require(self.name))
            job = NewJob(self.flink, self.deployments, found, told)
            controller.prepare(self.progress.plan_before, told.generation)
            job.entered(ledger, range(told.partitions), timeout)
            assert told.upgrade is not None
            now = controller.in_force
            if now is None or now.epoch < told.upgrade.epoch:
                controller.arrive(self.progress.plan_before, "rolled_back")
            cut = controller.standing(self.progress.plan_before)
            assert cut is not None
            job.activated(ledger, range(told.partitions), cut, timeout)
        return f"job {found.job_id}, from {found.origin}, in epoch {cut.epoch}"

    def _told_again(self, controller: Controller) -> JobSpec:
        """What the old job was told, and that it begins with the next epoch."""
        path = self.deployments.spec(self.name)
        told = JobSpec.read(path)
        if told.generation != self.progress.predecessor:
            return told
        generation = self.deployments.next_generation(self.name)
        upgrade = Upgrade("savepoint", self.progress.plan_before, next_epoch(controller.history))
        told = msgspec.structs.replace(told, generation=generation, upgrade=upgrade, parameters_end=controller.definitions.position)
        with self.deployments.lock(self.name):
            told.write(path)
            self.deployments.save(msgspec.structs.replace(self.deployments.require(self.name), generation=generation))
        return told
