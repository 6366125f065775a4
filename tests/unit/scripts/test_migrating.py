"""Published states that a new job's code takes over on trial."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import Rejected
from swapstream.operators.assignment import Upgrade
from swapstream.operators.snapshots import Published, parts_of
from swapstream.scripts import migrating
from swapstream.scripts.environment import Environment
from swapstream.scripts.migrating import newest_states, try_migration
from tests.support.shards import DEPLOYMENT, EWM, NAMESPACE, TOPIC, Worker, deployable, frame, reading, running

PLAIN, SMOOTH = deployable("plain"), deployable("smooth", extractor=EWM)
TOLD = JobSpec("detect", NAMESPACE, DEPLOYMENT, PLAIN.digest, 0, "b:1", {"telemetry": TOPIC}, 2, {0: 0, 1: 0}, generation=3,
               upgrade=Upgrade("savepoint", SMOOTH.digest, 1))  # fmt: skip


def published(worker: Worker, partition: int = 0) -> Published:
    shard = worker.shard
    head = shard.head
    [part] = parts_of(shard.snapshot(), NAMESPACE, DEPLOYMENT, TOPIC, partition, head.last, head.epoch, head.plan, 5, "time")
    return Published(msgspec.structs.replace(part, body=b""), part.body)


@pytest.fixture
def worker() -> Worker:
    found = running(PLAIN, SMOOTH)
    found.shard.on_frame(frame([reading(), reading()]))
    return found


def test_state_that_fits_is_taken_over_and_stays_what_it_was(worker):
    before = worker.shard.snapshot()
    try_migration([published(worker)], TOLD, worker.definitions)
    assert worker.shard.snapshot() == before


@pytest.mark.parametrize(("change", "reason"), [
    ({"upgrade": Upgrade("savepoint", "0" * 64, 1)}, "shard 0: its state, as of offset 1, can't be taken over: .*is not defined"),
    ({}, "shard 0: its state, as of offset 1, can't be taken over: .*of version 99"),
])  # fmt: skip
def test_state_that_can_not_be_taken_over_is_refused_with_shard_and_reason(worker, change, reason):
    found = published(worker)
    if not change:
        whole = msgspec.msgpack.decode(found.state)
        whole[0] = msgspec.msgpack.encode(msgspec.msgpack.decode(whole[0]) | {"v": 99})
        found = Published(found.about, msgspec.msgpack.encode(whole))
    with pytest.raises(Rejected, match=reason):
        try_migration([found], msgspec.structs.replace(TOLD, **change), worker.definitions)


def test_of_each_shard_the_newest_whole_state_of_this_deployment_counts(topics, monkeypatch):
    monkeypatch.setattr(migrating, "starts", lambda environment, topic, count: {0: 0})

    def say(partition: int, offset: int, state: bytes, **other: Any) -> None:
        for part in parts_of(state, NAMESPACE, DEPLOYMENT, TOPIC, partition, offset, 0, PLAIN.digest, 5, "time"):
            topics.send("snapshots", b"k", msgspec.structs.replace(part, **other).encode())

    say(0, 4, b"older")
    say(0, 9, b"newest")
    say(0, 12, b"head only", why="arrival")
    say(0, 15, b"not whole", parts=2)
    say(0, 16, b"another's", deployment="fans")
    say(1, 3, b"the other shard's")
    topics.send("snapshots", b"k", b"none")
    found = {partition: (one.about.offset, one.state) for partition, one in newest_states(Environment(), TOLD).items()}
    assert found == {0: (9, b"newest"), 1: (3, b"the other shard's")}
