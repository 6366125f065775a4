"""Snapshots: when they are published, in which parts, and that a shard goes on from them as if nothing had happened."""

from __future__ import annotations

import msgspec
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.outputs import Emission
from swapstream.operators.snapshots import (
    PART_BYTES,
    Assembly,
    Published,
    SnapshotPart,
    decode_part,
    parts_of,
)
from tests.support.shards import EWM, Worker, deployable, frame, parameters_of, reading, token

ONE = deployable("smooth", extractor=EWM, champion="c:1")
TWO = deployable("smoother", extractor=EWM, champion="d:1")


def running(every: int) -> Worker:
    worker = Worker(parameters_of(ONE, TWO), ONE.digest, snapshot_every_ms=every)
    worker.read()
    return worker


def published(emissions: list[Emission]) -> list[Published]:
    assembly = Assembly()
    found = [assembly.add(decode_part(emission.value)) for emission in emissions if emission.role == "snapshots"]
    return [one for one in found if one]


def places(emissions: list[Emission]) -> list[tuple[str, int, int]]:
    return [(one.about.why, one.about.offset, one.about.epoch) for one in published(emissions)]


def pumps(count: int) -> list[bytes]:
    return [reading(f"pump-{n % 7}", (n * 0.3, -n * 0.7), time=1_000 + n) for n in range(count)]


def test_a_shard_publishes_where_it_starts_at_cuts_and_when_log_time_has_passed() -> None:
    worker = running(every=10)
    swap = token(1, TWO.digest, worker.parameters.end)
    assert places(worker.shard.on_frame(frame([*pumps(3), swap, *pumps(2)], first=5))) == [("start", 4, 0), ("cut", 8, 1)]
    assert places(worker.shard.on_frame(frame(pumps(5), first=11))) == []
    assert places(worker.shard.on_frame(frame(pumps(3), first=16))) == [("time", 18, 1)]
    assert places(worker.shard.on_frame(frame(pumps(9), first=19))) == []
    assert places(worker.shard.on_frame(frame(pumps(1), first=28))) == [("time", 28, 1)]


def test_a_shard_that_is_told_never_does_not() -> None:
    worker = running(every=0)
    out = worker.shard.on_frame(frame([*pumps(3), token(1, TWO.digest, worker.parameters.end), *pumps(500)]))
    assert places(out) == []


@pytest.mark.parametrize("why", ["start", "cut", "time"])
def test_from_a_snapshot_a_shard_goes_on_as_if_nothing_had_happened(why: str) -> None:
    worker = running(every=10)
    records = [*pumps(6), token(1, TWO.digest, worker.parameters.end), *pumps(6)]
    out = worker.shard.on_frame(frame(records))
    out += worker.shard.on_frame(frame(pumps(4), first=13))
    found = next(one for one in published(out) if one.about.why == why)
    other = running(every=0)
    other.shard.restore(found.state)
    assert other.shard.head.last == found.about.offset
    again = [*records, *pumps(4)][found.about.offset + 1 :]
    other.shard.on_frame(frame(again, first=found.about.offset + 1))
    worker.shard.on_frame(frame(pumps(20), first=17))
    other.shard.on_frame(frame(pumps(20), first=17))
    assert worker.shard.tables is not None
    assert other.shard.tables is not None
    assert other.shard.tables.snapshot() == worker.shard.tables.snapshot()
    assert msgspec.structs.replace(other.shard.head, ledger="") == msgspec.structs.replace(worker.shard.head, ledger="")


def test_a_held_token_publishes_the_state_at_the_token_and_holds_nothing() -> None:
    worker = Worker(parameters_of(ONE), ONE.digest, snapshot_every_ms=1_000_000)
    worker.read()
    end = worker.parameters.publish(TWO)
    worker.shard.on_frame(frame([*pumps(2), token(1, TWO.digest, end), *pumps(2)]))
    worker.shard.on_frame(frame(pumps(3), first=5))
    start, cut = published(worker.read())
    assert [(one.about.why, one.about.offset) for one in (start, cut)] == [("start", -1), ("cut", 2)]
    other = running(every=0)
    other.shard.restore(cut.state)
    assert (other.shard.head.last, other.shard.waiting) == (2, False)


def about(state: bytes, offset: int = 7) -> list[SnapshotPart]:
    return parts_of(state, "prod", "detect", "telemetry", 0, offset, 1, "p", 5, "cut")


def test_while_what_was_held_is_worked_off_state_is_published_as_of_the_records_that_it_knows() -> None:
    worker = Worker(parameters_of(ONE, TWO), ONE.digest, snapshot_every_ms=1)
    for first in (0, 20, 40):
        assert worker.shard.on_frame(frame(pumps(20), first=first)) == []
    found = [one for one in published(worker.read()) if one.about.why == "time"]
    assert [one.about.offset for one in found] == [19, 39, 59]
    assert worker.shard.tables is not None
    for one in found:
        other = running(every=0)
        other.shard.restore(one.state)
        for first in range(one.about.offset + 1, 60, 20):
            other.shard.on_frame(frame(pumps(20), first=first))
        assert other.shard.tables is not None
        assert other.shard.tables.snapshot() == worker.shard.tables.snapshot()


def test_parts_are_small_and_come_together_in_any_order() -> None:
    state = bytes(range(256)) * 5_000
    parts = about(state)
    assert [len(part.body) for part in parts] == [PART_BYTES, PART_BYTES, len(state) - 2 * PART_BYTES]
    assert max(len(part.encode()) for part in parts) < PART_BYTES + 500
    assert len({part.key for part in parts}) == 3
    assembly = Assembly()
    assert [assembly.add(decode_part(part.encode())) for part in (parts[2], parts[0])] == [None, None]
    found = assembly.add(parts[1])
    assert found is not None
    assert (found.state, found.about.offset) == (state, 7)


def test_jobs_of_two_generations_publish_under_keys_of_their_own() -> None:
    (one,), (two,) = about(b"state"), parts_of(b"state", "prod", "detect", "telemetry", 0, 7, 1, "p", 5, "cut", 2)
    assert (one.key, two.key) == ("prod/detect/telemetry/0/7/0", "prod/detect/2/telemetry/0/7/0")
    assert decode_part(two.encode()).generation == 2


def test_parts_of_two_writings_of_a_snapshot_are_not_mixed() -> None:
    """At least once: the same offset may be published twice, by other bytes that mean the same."""
    first, second = about(b"a" * 600_000), about(b"b" * 600_000)
    assembly = Assembly()
    found = [assembly.add(part) for part in (first[0], second[1], second[0])]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert found[2].state == b"b" * 600_000


def test_a_snapshot_of_which_bytes_were_changed_is_passed_over() -> None:
    (part,) = about(b"state")
    assert Assembly().add(msgspec.structs.replace(part, body=b"statf")) is None


def test_what_is_no_part_is_refused() -> None:
    (part,) = about(b"state")
    for changed in (b"nonsense", msgspec.structs.replace(part, v=2).encode(), msgspec.structs.replace(part, part=1).encode()):
        with pytest.raises(InvalidDefinition, match="part"):
            decode_part(changed)


def test_a_large_state_leaves_over_many_frames_and_not_at_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.snapshots.PART_BYTES", 100)
    monkeypatch.setattr("swapstream.operators.snapshots.AT_ONCE", 500)
    monkeypatch.setattr("swapstream.operators.snapshots.MAX_CUT_BYTES", 200)
    worker = running(every=10)
    swap = token(1, TWO.digest, worker.parameters.end)
    out = [worker.shard.on_frame(frame([*pumps(20), swap, *pumps(3)]))]
    out += [worker.shard.on_frame(frame(pumps(1), first=first)) for first in range(24, 60)]
    assert {one.about.why for one in published([emission for emissions in out for emission in emissions])} == {"start", "time"}
    sent = [[emission for emission in emissions if emission.role == "snapshots"] for emissions in out]
    assert max(map(len, sent)) <= 3
    assert len([emissions for emissions in sent if emissions]) > 3


def test_a_state_over_the_limit_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.snapshots.MAX_BYTES", 200)
    worker = running(every=10)
    worker.shard.on_frame(frame(pumps(20)))
    assert places(worker.shard.on_frame(frame(pumps(20), first=20))) == []
