"""Verifying a partition that was handed over from job to job: each is run again beside the other, from where it forked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.operators.outputs import Emission
from swapstream.operators.pipelines import Pipelines
from swapstream.operators.recorded import Recorded, beginnings
from swapstream.operators.snapshots import Assembly, Published, decode_part
from swapstream.operators.verification import COMPARED, Span, Verification, Verified
from tests.support.jobs import Job, green_of, handover
from tests.support.shards import EWM, NAMESPACE, Parameters, deployable, frame, reading, token

ROLLING = {"rolling": {"n": 4}}
OLD = deployable("old", extractor=EWM, champion="a:1")
NEW = deployable("new", extractor=(*EWM, ROLLING), champion="b:1")
THIRD = deployable("third", extractor=EWM, champion="d:1")


def pumps(first: int, last: int) -> list[bytes]:
    return [reading(f"pump-{n % 3}", (n * 0.3, -n * 0.7), time=1_000 + n) for n in range(first, last)]


class Life:
    """One partition: `log` from offset 0 on, the jobs that carried it, and all that came out."""

    def __init__(self) -> None:
        self.parameters = Parameters()
        self.parameters.publish(OLD, NEW, THIRD)
        self.log: list[bytes] = []
        self.jobs = [Job(self.parameters, OLD.digest, 1, snapshot_every_ms=20)]

    def flow(self, payloads: list[bytes], size: int = 4) -> None:
        """Every job takes the records."""
        for start in range(0, len(payloads), size):
            part = payloads[start : start + size]
            raw = frame(part, first=len(self.log))
            self.log += part
            for job in self.jobs:
                job.read()
                job.take(raw)

    def fork(self, plan: str, epoch: int) -> None:
        self.jobs.append(green_of(self.jobs[-1], plan, epoch, generation=len(self.jobs) + 1))

    def hand_over(self, plan: str, epoch: int) -> int:
        """From the last job but one to the last; returns the token's offset."""
        offset, mine = len(self.log), len(self.jobs)
        self.parameters.cut(epoch, plan, {0: offset}, predecessor=mine - 1, successor=mine)
        said = handover(plan, self.parameters.end, epoch, generation=mine, predecessor=mine - 1)
        self.flow([said])
        return offset

    @property
    def out(self) -> list[Emission]:
        return [emission for job in self.jobs for emission in job.out]

    @property
    def snapshots(self) -> list[Published]:
        assembly = Assembly()
        found = [assembly.add(decode_part(one.value)) for one in self.out if one.role == "snapshots"]
        return [one for one in found if one]

    def verified(self, first: int = 0, out: list[Emission] | None = None, **how: Any) -> Verified:
        definitions = Recorded()
        self.parameters.read(definitions)
        snapshots = [one for one in self.snapshots if one.about.why not in ("fork", "arrival")]
        before = max((one for one in snapshots if one.about.offset < first), key=lambda one: one.about.offset, default=None)
        told = {"forks": [one for one in self.snapshots if one.about.why == "fork"], **how}
        assignment = msgspec.structs.replace(self.jobs[0].shard.assignment, snapshot_every_ms=0)
        run = Verification(0, assignment, definitions, Pipelines(definitions, NAMESPACE), Span(first, len(self.log) - 1),
                           before=before, begins=beginnings(one.about for one in self.snapshots), **told)
        for emission in self.out if out is None else out:
            if emission.role in COMPARED:
                run.take(emission.role, emission.value)
        for role in COMPARED:
            run.end(role)
        start = run.first_wanted if before else 0
        for offset in range(start, len(self.log), 5):
            run.records(frame(self.log[offset : offset + 5], first=offset))
        return run.finish()


@pytest.fixture
def twice() -> Life:
    """Handed over to other features and back again, with a swap between."""
    life = Life()
    life.flow(pumps(0, 30))
    life.fork(NEW.digest, 1)
    life.flow(pumps(30, 50))
    life.hand_over(NEW.digest, 1)
    life.flow(pumps(51, 70))
    life.fork(THIRD.digest, 2)
    life.flow(pumps(70, 90))
    life.hand_over(THIRD.digest, 2)
    life.flow(pumps(91, 100))
    offset = len(life.log)
    life.parameters.cut(3, OLD.digest, {0: offset})
    life.flow([token(3, OLD.digest, life.parameters.end), *pumps(101, 120)])
    return life


def test_what_several_jobs_put_out_is_computed_again(twice: Life) -> None:
    found = twice.verified()
    assert found.first is None, found.first
    assert (found.records, found.counts["scores"], found.held) == (120, 117, None)


@pytest.mark.parametrize("first", [25, 40, 50, 55, 80, 95, 110])
def test_from_a_state_anywhere_between(twice: Life, first: int) -> None:
    found = twice.verified(first)
    assert found.first is None, found.first
    assert found.counts["scores"] == 120 - first - sum(token >= first for token in (50, 90, 100))


def test_what_the_job_that_took_over_knew_decides(twice: Life) -> None:
    """It went on from older state than a swap at the token would have: rolling windows are fuller."""
    found = twice.verified(forks=[])
    assert found.first is not None
    assert 50 < found.first.offset < 70


def test_records_that_both_answer_diverge(twice: Life) -> None:
    late = [one for one in twice.jobs[0].out if one.role == "scores"][-1]
    found = twice.verified(out=[*twice.out, late])
    assert found.first is not None
    assert (found.first.offset, found.first.what) == (46, "twice")  # where the last frame before the token begins


def test_a_job_that_never_took_over_leaves_no_trace() -> None:
    life = Life()
    life.flow(pumps(0, 30))
    life.fork(NEW.digest, 1)
    life.flow(pumps(30, 50))
    assert life.verified().first is None
