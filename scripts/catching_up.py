"""Green catching up: how far each of its shards is behind, and how soon all of them answer to a prepare token."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, Rejected
from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Row, one_each, prepares
from swapstream.scripts.bounds import end_offsets
from swapstream.scripts.console import say
from swapstream.scripts.controller import Controller
from swapstream.scripts.environment import Environment
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.lag import Lag, lags
from swapstream.scripts.new_job import trouble

READY_S = 1.0
"""So soon after its commit, and the time of a frame, a prepare token must have been answered by every shard: then it is read as it is
written."""
PROMPT_S, STEADY_S, SETTLING_S = 0.15, 4.0, 60.0
"""Whatever green is late by at its token, readers notice. Once it is ready it gets some more seconds (SETTLING_S) to become as quick as
PROMPT_S and a frame, and to be so for a while (STEADY_S)."""
ASK_AGAIN = 1.0
"""Each time costs a token in every partition, and a row of the ledger."""
LOOK_AGAIN = 2.0


class Answer(msgspec.Struct, frozen=True):
    """A shard's, `seconds` after the commit of the prepare token that it answers."""

    partition: int
    seconds: float


class Pace:
    """How quick the slowest of all shards has been, which collect records for `frame` seconds. Pure.

    One that is ready at the time `until` [s] has settled: that is when nobody waits any longer.
    """

    def __init__(self, frame: float, until: float = math.inf) -> None:
        self._frame, self._until = frame, until
        self._ready = self._prompt = math.inf

    def enough(self, slowest: float, now: float) -> bool:
        """Whether it is ready, and as quick as may be expected of it; `slowest` [s] is the last answer's, at the time `now` [s]."""
        late = slowest - self._frame
        self._ready = min(self._ready, now) if late <= READY_S else self._ready
        self._prompt = min(self._prompt, now) if late <= PROMPT_S else math.inf
        return now >= self._prompt + STEADY_S or (late <= READY_S and now >= min(self._ready + SETTLING_S, self._until))


class CatchingUp:
    """Waits for one green job, which was `told` what to do. `behind` is what is known of its lag.

    `job` gives the id of its Flink job as of now: the keeper may have brought it back as another.
    """

    def __init__(
        self, environment: Environment, told: JobSpec, plan: str, job: Callable[[], str], flink: JobOperator, timeout: float
    ) -> None:
        self.environment, self.group, self.generation, self.plan = environment, told.group, told.generation, plan
        self._frame = told.frame_ms / 1000
        self._job, self._flink, self._timeout = job, flink, timeout
        self._topic = environment.topics.telemetry.name
        self._looked = 0.0
        self.behind: dict[int, Lag] = {}

    def wait(self, controller: Controller, ledger: Iterable[Row | None]) -> list[Answer]:
        """Return when every shard answers within READY_S and a frame, and as soon as may be expected of it.

        Raises Rejected when a shard refuses the plan, ClusterError when green has not caught up in time or can't run, Conflict when another
        controller has taken over.
        """
        until = time.monotonic() + self._timeout
        pace = Pace(self._frame, until)
        while True:
            asked = controller.prepare(self.plan, self.generation)
            answers = self._answers(asked.cut, asked.committed, ledger, until)
            if pace.enough(max(answer.seconds for answer in answers), time.monotonic()):
                return answers
            self._require_time(until)
            time.sleep(ASK_AGAIN)

    def _answers(self, cut: Cut, committed: float, ledger: Iterable[Row | None], until: float) -> list[Answer]:
        left = max(1.0, until - time.monotonic())
        try:
            rows = list(one_each(ledger, set(cut.offsets), lambda row: answers(row, cut, self.generation), left, "", self._look))
        except ClusterError:
            self._require_time(until)
            raise
        refused = next((row for row in rows if row["event"] != "prepared"), None)
        if refused:
            raise Rejected(f"shard {refused['partition']} of the new job {refused['event']} the plan: {refused.get('reason')}")
        return [Answer(row["partition"], round(max(0.0, row["written"] - committed) / 1000, 3)) for row in rows]

    def _require_time(self, until: float) -> None:
        if time.monotonic() > until:
            self._measure()
            raise ClusterError(f"the new job has not caught up in {self._timeout:g} s: {described(self._topic, self.behind)}")

    def _look(self, waiting: set[int]) -> None:
        """While shards don't answer."""
        if time.monotonic() - self._looked < LOOK_AGAIN:
            return
        self._looked = time.monotonic()
        self._require_life()
        self._measure()
        say(f"the new job: {described(self._topic, self.behind)}")

    def _require_life(self) -> None:
        """Raises ClusterError when green has failed, or fails again and again."""
        reason = ""
        with suppress(ClusterError):  # Flink is slow to answer while two jobs are busy
            reason = trouble(self._flink, self._job())
        if reason:
            raise ClusterError(reason)

    def _measure(self) -> None:
        """As of green's last checkpoint."""
        with suppress(ClusterError):  # a user who may not ask for it can wait all the same
            self.behind = lags(self.environment, self.group, end_offsets(self.environment, self._topic))


def answers(row: Row, cut: Cut, generation: int) -> bool:
    """Whether a row is the answer of a job of this generation to a prepare token."""
    return prepares(row, cut) and row.get("generation", 0) == generation


def described(topic: str, behind: Mapping[int, Lag]) -> str:
    """How far each shard is behind, in words."""
    return ", ".join(f"{topic}-{partition} is {lag} behind" for partition, lag in sorted(behind.items())) or "it has read nothing yet"
