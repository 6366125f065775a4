"""The keeper: a small daemon that brings jobs back which the JobManager has lost, and ends orphaned workers.

A restarted JobManager knows no jobs. Every deployment that should be running and is not known, or has FAILED, is
submitted again from its newest checkpoint, as soon as the slots of its old tasks are free again. So is the green job of a handover.
While an upgrade decides which of two jobs is to run, both are left alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import SwapstreamError
from swapstream.scripts.checkpoints import resumable
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.flink_cli import end_clients, new_job_id
from swapstream.scripts.job_operator import JobOperator, job_operator
from swapstream.scripts.processes import orphans
from swapstream.scripts.upgrade_progress import ProgressFile

POLL = 1.0
LONGEST_PAUSE = 60.0


class Keeper:
    """Watches the deployments of one environment. `look` is one round; it raises nothing that a next round may mend."""

    def __init__(self, environment: Environment, flink: JobOperator, clock: Callable[[], float] = time.monotonic,
                 log: Callable[[str], None] = print) -> None:
        self.environment, self.flink, self.clock, self.log = environment, flink, clock, log
        self.deployments = Deployments(environment)
        self.attempts: dict[tuple[str, bool], int] = {}
        self.not_before: dict[tuple[str, bool], float] = {}
        self.said = ""

    def look(self) -> None:
        """Compare what should run with what does, and act on the difference."""
        try:
            states = self.flink.states()
            trouble = [words for deployment in list(self.deployments.every()) if (words := self._look_at(deployment, states))]
            self._say("; ".join(trouble) or "all is well")
        except SwapstreamError as error:
            self._say(str(error))

    def _look_at(self, deployment: Deployment, states: dict[str, str]) -> str | None:
        """What is wrong with a deployment, after doing about it what can be done now."""
        if deployment.desired == "stopped" or not deployment.job_ids:
            return None
        state = states.get(deployment.job_id)
        if state == "RUNNING":
            self.attempts.pop(_key(deployment), None)
            self.not_before.pop(_key(deployment), None)
        elif state in (None, "FAILED"):
            return self._bring_back(deployment)
        elif state in ("CANCELED", "FINISHED"):
            self._note_end(deployment)
        return None

    def _bring_back(self, seen: Deployment) -> str | None:
        """Under the lock, since `submit` or `cancel` may be at work: what was seen before may be over by now."""
        name = words(seen)
        if self.clock() < self.not_before.get(_key(seen), 0.0):
            return f"{name} is lost: trying again soon"
        with self.deployments.lock(seen.name):
            deployment = self._present(seen)
            if deployment is None or deployment.desired == "stopped":
                return None
            end_clients(deployment.job_id)  # of somebody who was killed with the lock: it must not come in late
            if self.flink.state(deployment.job_id) not in (None, "FAILED"):
                return None
            if self.flink.free_slots() < deployment.parallelism:
                return f"{name} is lost: waiting for {deployment.parallelism} free slots"
            self._pause(deployment)
            return self._resubmit(deployment)

    def _present(self, seen: Deployment) -> Deployment | None:
        """The record as it is by now; None where it is gone, or where an upgrade decides."""
        progress = ProgressFile(self.deployments, seen.name).find()
        return None if progress and progress.hands_off else self.deployments.find(seen.name, seen.green)

    def _resubmit(self, deployment: Deployment) -> str:
        restore = resumable(self.environment.checkpoints, deployment)
        spec = self.deployments.spec(deployment.name, deployment.green)
        repoint(spec, self.environment)
        job_id = new_job_id()
        self.deployments.save(deployment.with_job(job_id))
        self._say(f"{words(deployment)} is lost: submitting it as {job_id} from {restore or 'its start'}")
        # Green's first start leaves the state of blue's sinks behind, and so does a start from there again.
        leave_sinks = deployment.green and restore == deployment.origin
        self.flink.run(self.flink.arguments(deployment.job, spec, deployment.parallelism, job_id, restore,
                                            Path(deployment.bundle) if deployment.bundle else None, leave_sinks))  # fmt: skip
        return f"{words(deployment)} was submitted again"

    def _pause(self, deployment: Deployment) -> None:
        """A job that fails again and again is tried after 2, 4, 8, … seconds, until it has been seen to run."""
        attempts = self.attempts[_key(deployment)] = self.attempts.get(_key(deployment), 0) + 1
        self.not_before[_key(deployment)] = self.clock() + min(2.0**attempts, LONGEST_PAUSE)

    def _note_end(self, deployment: Deployment) -> None:
        """Ended on purpose, by somebody who asked Flink itself."""
        with self.deployments.lock(deployment.name):
            if self._present(deployment) == deployment:
                self.deployments.save(deployment.stopped())

    def _say(self, message: str) -> None:
        """Log what has changed, not what is as it was a second ago."""
        if message != self.said:
            self.log(f"{time.strftime('%H:%M:%S')} {message}")
            self.said = message


def words(deployment: Deployment) -> str:
    """How a record is called in the log."""
    return f"{deployment.name} (green)" if deployment.green else deployment.name


def _key(deployment: Deployment) -> tuple[str, bool]:
    return deployment.name, deployment.green


class Reaper:
    """Kills processes of the cluster whose parent is gone, once they have been seen so twice."""

    def __init__(self, environment: Environment, supervisor_pid: int) -> None:
        self.directory, self.supervisor_pid = environment.path, supervisor_pid
        self.seen: set[psutil.Process] = set()

    def look(self) -> None:
        found = set(orphans(self.directory, self.supervisor_pid))
        for process in found & self.seen:
            print(f"killing {process.pid}, whose parent is gone")
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.seen = found


def repoint(spec: Path, environment: Environment) -> None:
    """A cluster that came up on other ports: the specification names the broker."""
    found = JobSpec.read(spec)
    if found.bootstrap != environment.broker.servers:
        msgspec.structs.replace(found, bootstrap=environment.broker.servers).write(spec)


def main() -> None:
    """Run for ever."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    environment = load_environment(sys.argv[1])
    keeper, reaper = Keeper(environment, job_operator(environment)), Reaper(environment, os.getppid())
    reaper.look()
    while True:
        time.sleep(POLL)
        reaper.look()  # before the first submission: a `flink run` that a killed keeper left behind must not come in late
        keeper.look()


if __name__ == "__main__":
    main()
