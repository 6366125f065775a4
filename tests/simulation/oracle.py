"""What contracts C1, C4 and C5 say must become of each record: from what was written, and what shards recorded, alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from swapstream.operators.token import Token
from tests.simulation.catalogue import answering
from tests.simulation.job import Submitted
from tests.simulation.observed import DEAD, End, Life, Observed, Place, Sent, rows_of
from tests.simulation.relay import Relay
from tests.simulation.world import Begin, Deployment, Entry
from tests.support.shards import Deployable


class Now(NamedTuple):
    """The plan in force, its epoch, the highest epoch met (what is not above that has no effect), the end of `parameters` at submit."""

    epoch: int
    plan: Deployable
    highest: int
    end: int


def expected(job: Life, seen: Observed) -> dict[Place, End]:
    """(partition, offset, index) → where the reading must end (C1, C5). What can't be read at all has no index.

    Only where something began at arrival, and at which token a shard that held was let go by an abort, is taken from what it recorded
    there (C6).
    """
    ends: dict[Place, End] = {}
    for partition, log in enumerate(job.world.logs):
        started = first_records(log, partition, job.submitted)
        now = Now(0, job.whose.first, 0, 0)
        for entry in log:
            place, epoch = (partition, entry.offset), entry.begins.get(job.whose.name, 0)
            if entry.offset in started:
                now = beginning(job, partition, entry.offset, started[entry.offset], seen)
            if place in seen.arrived:
                now = begun(job.whose, seen.arrived[place], now)
            if job.handed_over(epoch):
                now = now._replace(epoch=epoch, plan=job.whose.begun[epoch].plan, highest=epoch)
            elif epoch > now.highest and not forgotten(job, epoch, now):
                now = now._replace(highest=epoch) if place in seen.aborted else begun(job.whose, epoch, now)
            ends |= {(*place, index): end for index, end in answers(entry, now)}
    return ends


def begun(whose: Deployment, epoch: int, now: Now) -> Now:
    assert epoch > now.highest, f"epoch {epoch} begins, {now.highest} had been met"
    return now._replace(epoch=epoch, plan=whose.begun[epoch].plan, highest=epoch)


def forgotten(job: Life, epoch: int, now: Now) -> bool:
    """Whether the key that signed a token was revoked before submit: then a cut map has to tell that it was there before, and of an
    update there is none that stays."""
    one = job.whose.begun[epoch]
    return one.carried and one.end <= job.world.revoked < now.end


def answers(entry: Entry, now: Now) -> Iterator[tuple[int | None, End]]:
    """Where the readings of a record end (C5)."""
    if entry.schema in {schema.name for schema in now.plan.schemas}:
        for index, (device, good) in enumerate(entry.readings):
            digest = now.plan.digest
            yield index, End(now.epoch, digest, answering(digest, entry.schema, device)) if good else DEAD
    elif entry.schema or entry.junk:
        yield None, DEAD


def first_records(log: list[Entry], partition: int, submitted: list[Submitted]) -> Mapping[int, Submitted]:
    """By its offset, the first record after each start without state."""
    found = ((next((e.offset for e in log if e.offset >= one.starts[partition]), -1), one) for one in submitted)
    return dict(found)


def beginning(job: Life, partition: int, offset: int, submitted: Submitted, seen: Observed) -> Now:
    """The newest of what began before a record without which state is lost: cuts before it, what had arrived at submit. Of updates
    `parameters` keeps the last one only, and one that was aborted begins unless its store is away: what was seen there tells."""
    whose = job.whose
    last_update = max((one.epoch for one in whose.begun.values() if one.carried), default=0)
    for one in sorted(whose.begun.values(), key=lambda one: -one.epoch):
        before = one.offsets[partition] < offset if one.offsets else one.at < submitted.end
        away = one.epoch in whose.aborts and one.plan.digest in job.world.referred
        doubtful = away or (one.carried and one.epoch < last_update)
        if before and (not doubtful or one.epoch == seen.first_epoch(partition, offset)):
            return Now(one.epoch, one.plan, one.epoch, submitted.end)
    return Now(0, whose.first, 0, submitted.end)


def check_held(job: Life, seen: Observed) -> None:
    """Nothing was answered before it could be known how (C4), and nothing at arrival was put off (C1)."""
    begun = job.whose.begun
    arrivals = [one for one in begun.values() if one.offsets is None]
    for sent in seen.sent:
        assert sent.position >= sent.submitted.end, f"{sent.at}: answered before `parameters` was read to the end seen at submit"
        if sent.epoch:
            one = begun[sent.epoch]
            known = one.at + 1 if one.offsets is None else one.end
            assert sent.position >= known, f"{sent.at}: epoch {sent.epoch} was begun before it could be judged"
        late = [one.epoch for one in arrivals if sent.epoch < one.epoch and due(job.whose, one, sent)]
        assert not late, f"{sent.at}: answered in epoch {sent.epoch}, {late} had arrived"


def check_alarms(job: Life) -> None:
    """Where a shard went on, it had said that it holds (C4)."""
    held = {(row["partition"], row["offset"], row["event"]) for row in rows_of(job)}
    assert all((*place, "holding") in held for *place, event in held if event == "released")


def due(whose: Deployment, one: Begin, sent: Sent) -> bool:
    """Whether a worker that has sent this must have followed a cut at arrival: it was read, its plan was loaded, nothing came after."""
    read = [other for other in whose.begun.values() if other.at < sent.position and other.at not in sent.submitted.gone]
    replaced = one.carried and any(other.carried and other.epoch > one.epoch for other in read)
    given_up = any(epoch > one.epoch for epoch in whose.aborts)
    return one in read and one.plan.digest in sent.loaded and not replaced and not given_up


def check_prepared(job: Life, seen: Observed) -> None:
    """Every prepare token is answered, and rightly; what was asked of a job that was cancelled or handed over, or is in force by then, may
    stay unanswered."""
    if len(job.submitted) > 1 or isinstance(job, Relay):
        return
    for partition, log in enumerate(job.world.logs):
        asked = {entry.offset for entry in log if entry.asks == job.whose.name and not came(job.whose, entry)}
        told = seen.answers.get(partition, {})
        assert asked <= told.keys(), f"partition {partition}: {sorted(asked - told.keys())} were never answered"
    ready = {plan for plans in seen.answers.values() for event, plan in plans.values() if event == "prepared"}
    assert not ready & seen.refused_by_gate, "a plan with a model that the gate refuses was said to be prepared"


def came(whose: Deployment, asking: Entry) -> bool:
    """Whether what a prepare token asks about began, ahead of it perhaps."""
    token = Token.decode(asking.payload or b"")
    one = whose.begun.get(token.epoch)
    return one is not None and one.plan.digest == token.plan
