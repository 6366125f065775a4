"""A job about to start: what it begins from and what it is told, whether it can run, and waiting until it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Conflict, UnknownName
from swapstream.scripts.access import require
from swapstream.scripts.at_risk import refuse_old
from swapstream.scripts.code import ship
from swapstream.scripts.console import err
from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import new_job_id
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.job_operator import JobOperator, job_operator
from swapstream.scripts.kafka import partition_count
from swapstream.scripts.offsets import Start, start_offsets
from swapstream.scripts.publish import Author, publish_plan
from swapstream.scripts.restoring import Restore, check_settings, restore_of, told_before
from swapstream.scripts.specification import first_spec
from swapstream.scripts.state_check import check_state
from swapstream.scripts.state_file import StateFile, read_state
from swapstream.scripts.topics import existing_topics
from swapstream.scripts.upgrade_progress import ProgressFile

PATIENCE = 120.0
"""Seconds from the submission until every task runs; about 10 are usual."""
COMING_BACK_S, LOOK_AGAIN = 20.0, 0.5
"""As long may a TaskManager that was lost take to be there again."""


class Submission:
    """One deployment about to start. `restore`: a path, a URI, `latest`, or None for no state. `code`: digests of users' code that is
    sent along. Raises UnknownName, ClusterError."""

    def __init__(self, environment: Environment, deployment: Deployment, restore: str | None, code: Sequence[str] = ()) -> None:
        self.environment, self.deployments, self.flink = environment, Deployments(environment), job_operator(environment)
        earlier = self.deployments.find(deployment.name)
        self.deployment = _after(earlier, deployment) if earlier else deployment
        self.restore: Restore | None = restore_of(environment, self.flink, self.deployment, restore) if restore else None
        self.job_id = new_job_id()
        self.code = tuple(code)

    def arguments(self) -> list[str]:
        bundle = self.deployment.bundle
        return self.flink.arguments(self.deployment.job, self.deployments.spec(self.deployment.name), self.deployment.parallelism,
                                    self.job_id, self.restore.uri if self.restore else None, Path(bundle) if bundle else None,
                                    code=self.code)  # fmt: skip

    def shell_line(self) -> str:
        return self.flink.shell_line(self.arguments())

    def submit(self, plan_file: str, author: Author, start: Start, delivery: Any, force: bool = False,
               apply: bool = True) -> dict[str, Any]:  # fmt: skip
        """Publish, submit, wait. What has been refused or fails is not kept as a deployment; `force`: state may be too old. Without
        `apply` all is done but to ask what runs and to start the job: somebody else will. Raises SwapstreamError.
        """
        with self.deployments.lock(self.deployment.name):
            offsets = self._begin(start, delivery, force, apply)
            plan, definitions = publish_plan(self.environment, self.deployment.namespace, plan_file, author)
            row = self._go(self._told(plan.digest, definitions.position, offsets, delivery), apply)
        return row | {"plan": plan.name, "plan_digest": plan.digest}

    def _begin(self, start: Start, delivery: Any, force: bool, apply: bool = True) -> dict[int, int]:
        """Where to begin, when everything is as it must be."""
        self._check(apply)
        state = self._state(delivery, force) if self.restore else None
        if state:  # what its sinks left to be committed, sinks of the same line commit
            self.deployment = msgspec.structs.replace(self.deployment, line=state.line)
        return start_offsets(self.environment, self._told("", 0, {}, delivery).group, start)

    def _go(self, told: JobSpec, apply: bool = True) -> dict[str, Any]:
        ship(self.environment, told.code)
        told.write(self.deployments.spec(self.deployment.name))
        self._run(apply)
        return {"deployment": self.deployment.full_name, "job": self.job_id,
                "restored": self.restore.uri if self.restore else None, "generation": told.generation}  # fmt: skip

    def _run(self, apply: bool) -> None:
        running = self.deployment.submitted(self.job_id, self.restore.uri if self.restore else None)
        self.deployments.save(running)
        if not apply:
            return
        try:
            with err.status(f"submitting {self.deployment.full_name}") as shown:
                self.flink.run(self.arguments())
                shown.update(f"waiting for the tasks of {self.deployment.full_name}")
                self._wait()
        except BaseException:
            self.deployments.save(running.stopped())
            raise

    def _wait(self) -> None:
        try:
            wait_until_running(self.flink, self.job_id)
        except BaseException:
            self.flink.cancel(self.job_id)
            raise

    def _state(self, delivery: Any, force: bool) -> StateFile:
        """What it starts from, which must be whole, of this job, and young enough. Raises InvalidSettings, ClusterError, Rejected."""
        assert self.restore is not None
        partitions = partition_count(self.environment, self.environment.topics.telemetry.name)
        after = self._told("", 0, dict.fromkeys(range(partitions), 0), delivery)
        before = told_before(self.environment, self.deployment, self.restore)
        check_settings(before, after, self.restore)
        with err.status(f"reading {self.restore.uri}"):
            state = read_state(self.restore.uri, after.topics["telemetry"])
        check_state(state, msgspec.structs.replace(after, line=state.line))
        if self.restore.made is not None:
            refuse_old(self.environment, state, self.restore.made, before or after, force)
        return state

    def _check(self, apply: bool = True) -> None:
        """Everything that would make the job fail later is said now, in one line."""
        ProgressFile(self.deployments, self.deployment.name).refuse_any()
        if apply:
            self._check_runs()
        self._check_topics()

    def _check_runs(self) -> None:
        states, found = self.flink.states(), self.deployment
        for job_id in (*found.earlier, *found.job_ids):
            if states.get(job_id, "CANCELED") not in ENDED:
                raise Conflict(f"deployment {found.full_name} runs already, as job {job_id}; "
                               f"`swapstream cancel {found.name}` first, or choose another --deployment")  # fmt: skip
        require_slots(self.flink, found.parallelism)

    def _check_topics(self) -> None:
        require(self.environment, self.deployment.name)
        there = existing_topics(self.environment)
        missing = [topic.name for topic in self.environment.topics.by_role().values() if topic.name not in there]
        if missing:
            raise UnknownName(f"topics {', '.join(missing)} do not exist; `swapstream topics` creates them")

    def _told(self, plan: str, end: int, offsets: dict[int, int], delivery: Any) -> JobSpec:
        return first_spec(self.environment, self.deployment, plan, end, offsets, delivery, self.code)


def _after(earlier: Deployment, wanted: Deployment) -> Deployment:
    """A deployment's next submission."""
    generation = max(earlier.generation, earlier.generations) + 1
    return msgspec.structs.replace(wanted, job_ids=earlier.job_ids, earlier=earlier.earlier, generation=generation,
                                   generations=generation, line=earlier.line)  # fmt: skip


def require_slots(flink: JobOperator, needed: int, freed: int = 0) -> None:
    """Raises ClusterError where too few are free; `freed` will be. TaskManagers that are on their way are waited for."""
    until = time.monotonic() + COMING_BACK_S
    while (slots := flink.rest.overview())["slots-total"] < needed and time.monotonic() < until:
        time.sleep(LOOK_AGAIN)
    free, total = slots["slots-available"], slots["slots-total"]
    if free + freed < needed:
        raise ClusterError(f"{needed} slots are needed and {free + freed} of {total} are free; cancel a "
                           "job, lower --parallelism, or raise flink.slots in the environment and restart it")  # fmt: skip


def wait_until_running(flink: JobOperator, job_id: str, seconds: float = PATIENCE) -> None:
    """Return when every task runs. Raises ClusterError with the newest failure when that takes too long."""
    deadline = time.monotonic() + seconds
    while not flink.is_running(job_id):
        if time.monotonic() > deadline:
            raise ClusterError(f"job {job_id} does not run after {seconds:.0f} s: "
                               f"{flink.rest.exception(job_id) or 'its tasks are still being started'}")  # fmt: skip
        time.sleep(0.1)
