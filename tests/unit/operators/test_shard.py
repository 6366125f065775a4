"""The shard: cuts, holds, starts, refusals, state. Faults stand in the input."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models.errors import InvalidDefinition, OutOfOrder, UnknownName
from swapstream.operators.extractors.ewm import ExponentiallyWeighted
from swapstream.operators.outputs import Emission
from swapstream.operators.plan import Plan
from swapstream.operators.scores import decode_scores
from swapstream.operators.shard_state import Head, decode_raw, encode_raw
from tests.support import sent
from tests.support.sent import ledger, plans
from tests.support.shards import (
    EWM,
    Deployable,
    Stored,
    Worker,
    deployable,
    frame,
    parameters_of,
    reading,
    running,
    token,
)

ONE, TWO = deployable("one", champion="a:1"), deployable("two", champion="b:1")
SMOOTH, SMOOTHER = deployable("smooth", extractor=EWM, champion="c:1"), deployable("smoother", extractor=EWM, champion="d:1")
R = reading()


def extracting(*spec: Any) -> Plan:
    """Plan ONE with another extractor."""
    (part,) = ONE.plan.inputs
    return msgspec.structs.replace(ONE.plan, inputs=(msgspec.structs.replace(part, extractor=spec),))


def letters(emissions: list[Emission]) -> list[tuple[int, str]]:
    return [(letter.offset, letter.reason) for letter in sent.letters(emissions)]


# -- cuts


def test_the_records_after_a_token_are_the_next_plans() -> None:
    worker = running(ONE, TWO)
    out = worker.shard.on_frame(frame([R, R, token(1, TWO.digest, worker.parameters.end), R]))
    assert plans(out) == [("one", 0, 0), ("one", 0, 1), ("two", 1, 3)]
    (row,) = ledger(out)
    assert (row["event"], row["offset"], row["epoch"], row["plan"], row["plan_name"]) == ("activated", 2, 1, TWO.digest, "two")
    assert row["time"] == 1_002


def test_tokens_may_stand_anywhere_and_beside_each_other() -> None:
    worker = running(ONE, TWO)
    end = worker.parameters.end
    out = worker.shard.on_frame(frame([token(1, TWO.digest, end), token(2, ONE.digest, end), R, token(3, TWO.digest, end)]))
    assert plans(out) == [("one", 2, 2)]
    assert [row["event"] for row in ledger(out)] == ["activated"] * 3
    assert plans(worker.shard.on_frame(frame([R], first=4))) == [("two", 3, 4)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": 4}, "epoch 4 is not above 4"),
        ({"epoch": 3, "parameters_end": 10**9}, "epoch 3 is not above 4"),
        ({"plan": "0" * 64}, "plan 000000000000… is not defined"),
        ({"parameters_end": 1}, "is not defined below offset 1"),
        ({"topic": "another", "parameters_end": 10**9}, "written for another-0"),
        ({"partition": 7, "parameters_end": 10**9}, "written for telemetry-7"),
        ({"kind": "strange", "parameters_end": 10**9}, "kind 'strange' is unknown to this release"),
    ],
)
def test_a_token_that_can_have_no_effect_is_rejected_and_holds_nothing(changes: dict[str, Any], reason: str) -> None:
    worker = running(ONE, TWO)
    end = worker.parameters.end
    worker.shard.on_frame(frame([token(4, TWO.digest, end)]))
    out = worker.shard.on_frame(frame([token(**{"epoch": 5, "plan": ONE.digest, "parameters_end": end, **changes}), R], first=1))
    assert plans(out) == [("two", 4, 2)]
    (row,) = ledger(out)
    assert row["event"] == "rejected"
    assert reason in row["reason"]
    assert row.get("plan_name") == ("two" if row["plan"] == TWO.digest else None)


@pytest.mark.parametrize(
    "changes", [{"deployment": "another"}, {"namespace": "alice"}, {"deployment": "another", "kind": "handover"}]
)
def test_a_token_addressed_elsewhere_is_skipped(changes: dict[str, str]) -> None:
    worker = running(ONE, TWO)
    out = worker.shard.on_frame(frame([token(1, TWO.digest, 10**9, **changes), R]))
    assert [emission.role for emission in out if emission.role != "anomalies"] == ["scores"]
    assert plans(out) == [("one", 0, 1)]


def test_bytes_that_only_start_like_a_token_are_a_dead_letter() -> None:
    worker = running(ONE)
    out = worker.shard.on_frame(frame([b"\xc1", R, b"\xc1" + b"\x91" * 100_000]))
    assert letters(out) == [(0, "token"), (2, "token")]
    assert plans(out) == [("one", 0, 1)]


@pytest.mark.parametrize(
    "body",
    [
        b"\xa1\xff",
        extracting("nonsense").encode(),
        extracting({"ewm": {"halflife": -1}}).encode(),
        extracting().encode(),
        msgspec.structs.replace(ONE.plan, v=9).encode(),
    ],
)
def test_a_token_to_a_plan_that_can_not_be_loaded_is_rejected(body: bytes) -> None:
    worker = running(ONE)
    worker.parameters.define("plan", "bad", body)
    worker.read()
    digest = hashlib.sha256(body).hexdigest()
    out = worker.shard.on_frame(frame([token(1, digest, worker.parameters.end), R]))
    assert [row["event"] for row in ledger(out)] == ["rejected"]
    assert plans(out) == [("one", 0, 1)]


# -- holding


def test_a_shard_holds_from_the_token_on_until_parameters_is_read() -> None:
    worker = Worker(parameters_of(ONE), ONE.digest)
    worker.read()
    end = worker.parameters.publish(TWO)
    held = worker.shard.on_frame(frame([R, token(1, TWO.digest, end), R]))
    assert plans(held) == [("one", 0, 0)]
    assert [row["event"] for row in ledger(held)] == ["holding"]
    assert worker.shard.waiting
    assert worker.shard.on_frame(frame([R, R], first=3)) == []
    assert worker.read(end - 1) == []
    out = worker.read(end)
    assert plans(out) == [("two", 1, 2), ("two", 1, 3), ("two", 1, 4)]
    assert not worker.shard.waiting


def test_it_holds_again_at_the_next_token_that_can_not_be_judged() -> None:
    worker = Worker(parameters_of(ONE), ONE.digest)
    worker.read()
    first = worker.parameters.publish(TWO)
    second = worker.parameters.publish(SMOOTH)
    worker.shard.on_frame(frame([token(1, TWO.digest, first), R, token(2, SMOOTH.digest, second), R]))
    worker.shard.on_frame(frame([R], first=4))
    assert plans(worker.read(first)) == [("two", 1, 1)]
    assert worker.shard.waiting
    assert plans(worker.read(second)) == [("smooth", 2, 3), ("smooth", 2, 4)]


def test_a_new_shard_holds_until_parameters_is_read_to_the_end_seen_at_submit() -> None:
    worker = Worker(parameters_of(ONE, TWO), ONE.digest)
    assert worker.shard.on_frame(frame([R])) == []
    assert worker.read(worker.parameters.end - 1) == []
    assert plans(worker.read()) == [("one", 0, 0)]


def test_a_shard_that_holds_too_much_fails() -> None:
    worker = Worker(parameters_of(ONE), ONE.digest, max_held=3 * len(R))
    worker.shard.on_frame(frame([R, R, R]))
    with pytest.raises(OutOfOrder, match="holds"):
        worker.shard.on_frame(frame([R], first=3))


# -- starting


@pytest.mark.parametrize(("first", "found"), [(5, ("one", 0)), (6, ("one", 0)), (7, ("two", 1)), (9, ("smooth", 2))])
def test_a_start_without_state_takes_its_plan_from_the_cut_maps(first: int, found: tuple[str, int]) -> None:
    parameters = parameters_of(ONE, TWO, SMOOTH)
    parameters.cut(1, TWO.digest, {0: 6})
    parameters.cut(2, SMOOTH.digest, {0: 8})
    parameters.cut(3, ONE.digest, {0: 3}, topic="another")
    parameters.cut(4, ONE.digest, {0: 3}, deployment="another")
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], first=first))) == [(*found, first)]


def test_a_token_that_the_cut_maps_told_already_is_judged_in_its_place() -> None:
    parameters = parameters_of(ONE, TWO)
    end = parameters.end
    parameters.cut(1, TWO.digest, {0: 6})
    worker = Worker(parameters, ONE.digest)
    worker.read()
    out = worker.shard.on_frame(frame([R, token(1, TWO.digest, end), R], first=5))
    assert plans(out) == [("one", 0, 5), ("two", 1, 7)]


def test_a_partition_that_was_added_later_starts_under_the_newest_cut() -> None:
    parameters = parameters_of(ONE, TWO)
    parameters.cut(1, TWO.digest, {0: 6})
    worker = Worker(parameters, ONE.digest, partition=3)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], partition=3))) == [("two", 1, 0)]


def test_cut_maps_to_what_can_not_be_run_are_passed_over() -> None:
    parameters = parameters_of(ONE, TWO)
    parameters.cut(1, TWO.digest, {0: 6})
    parameters.cut(2, "0" * 64, {0: 7})
    parameters.define("cut", "detect:3", b"no cut map")
    worker = Worker(parameters, ONE.digest)
    worker.read()
    assert plans(worker.shard.on_frame(frame([R], first=9))) == [("two", 1, 9)]


def test_a_plan_at_submit_that_nobody_defined_is_an_error() -> None:
    worker = Worker(parameters_of(ONE), "0" * 64)
    worker.read()
    with pytest.raises(UnknownName, match="plan 000000000000… is not defined"):
        worker.shard.on_frame(frame([R]))


# -- frames


def test_an_empty_frame_is_nothing() -> None:
    assert running(ONE).shard.on_frame(frame([])) == []


def test_a_frame_without_a_good_record_gives_dead_letters_only() -> None:
    worker = running(ONE)
    out = worker.shard.on_frame(frame([None, b"", b"{", b"\xc0"]))
    assert letters(out) == [(0, "empty"), (1, "empty"), (2, "invalid"), (3, "invalid")]
    assert {emission.role for emission in out} == {"dead_letters"}
    (scored,) = [e for e in worker.shard.on_frame(frame([R], first=4)) if e.role == "scores"]
    assert decode_scores(scored.value).prev == -1


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_frame_that_does_not_follow_is_refused(first: int) -> None:
    worker = running(ONE)
    worker.shard.on_frame(frame([R, R, R]))
    with pytest.raises(OutOfOrder, match="the last one ended at 2"):
        worker.shard.on_frame(frame([R], first=first))


def test_offsets_may_have_holes_and_prev_tells_them_from_gaps() -> None:
    worker = running(ONE)
    out = worker.shard.on_frame(frame([R, R], offsets=[3, 9])) + worker.shard.on_frame(frame([R], offsets=[20]))
    frames = [decode_scores(emission.value) for emission in out if emission.role == "scores"]
    assert [(f.prev, f.first, f.last) for f in frames] == [(-1, 3, 9), (9, 20, 20)]


def test_without_a_model_records_go_to_features() -> None:
    out = running(deployable("archive", extractor=EWM)).shard.on_frame(frame([R, R]))
    assert [emission.role for emission in out] == ["features"]


# -- state


def test_state_of_an_extractor_that_stays_the_same_is_carried_over_a_swap() -> None:
    worker = running(SMOOTH, SMOOTHER, ONE)
    end = worker.parameters.end
    worker.shard.on_frame(frame([reading(values=(5.0, 5.0))] * 3))

    def warming(first: int, plan: Deployable, epoch: int) -> list[bool]:
        out = worker.shard.on_frame(frame([token(epoch, plan.digest, end), R], first=first))
        (scored,) = [decode_scores(e.value) for e in out if e.role == "scores"]
        return [bool(byte) for byte in scored.warming]

    assert warming(3, SMOOTHER, 1) == [False]
    assert warming(5, ONE, 2) == [False]
    assert warming(7, SMOOTH, 3) == [False], "what plan ONE had no use for was kept"


def test_what_changes_gave_over_time_is_the_snapshot() -> None:
    parameters = parameters_of(SMOOTH, SMOOTHER, ONE)
    worker, stored = Worker(parameters, SMOOTH.digest), Stored()
    end = parameters.end + 3
    inputs = [
        [R, reading("fan")],
        [R, token(1, ONE.digest, end - 3), R],
        [reading("fan"), token(2, SMOOTHER.digest, end - 3), R],
        [R, b"{"],
        [token(3, SMOOTH.digest, end), R],
        [R],
    ]
    first = 0
    for number, payloads in enumerate(inputs):
        if number == 1:
            worker.read()
            stored.write(worker.shard.changes())
        worker.shard.on_frame(frame(payloads, first=first))
        stored.write(worker.shard.changes())
        first += len(payloads)
        twin = Worker(parameters, SMOOTH.digest)
        parameters.read(twin.definitions, worker.definitions.position)
        stored.restore(twin.shard)
        assert twin.shard.snapshot() == worker.shard.snapshot()
        assert twin.shard.waiting == worker.shard.waiting
    assert worker.shard.waiting


def test_a_journal_that_outgrew_its_base_is_folded() -> None:
    worker, stored, folded = running(SMOOTH), Stored(), 0
    devices = [f"pump-{i}" for i in range(400)]
    for number in range(60):
        worker.shard.on_frame(frame([reading(device) for device in devices], first=400 * number))
        change = worker.shard.changes()
        folded += number > 0 and any("block/" in key for key in change.table)
        stored.write(change)
    assert folded == 1
    assert len(stored.table) < 50
    twin = Worker(worker.parameters, SMOOTH.digest)
    twin.read()
    stored.restore(twin.shard)
    assert twin.shard.snapshot() == worker.shard.snapshot()


def test_a_restored_snapshot_is_written_whole() -> None:
    worker = running(SMOOTH, ONE)
    worker.shard.on_frame(frame([R, token(1, ONE.digest, worker.parameters.end + 1), R]))
    twin = Worker(worker.parameters, SMOOTH.digest)
    twin.read()
    twin.shard.restore(worker.shard.snapshot())
    stored = Stored()
    stored.write(twin.shard.changes())
    third = Worker(worker.parameters, SMOOTH.digest)
    third.read()
    stored.restore(third.shard)
    assert third.shard.snapshot() == worker.shard.snapshot()


def test_state_that_was_migrated_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal can't follow a base of another layout."""
    worker, stored = running(SMOOTH), Stored()
    worker.shard.on_frame(frame([R]))
    stored.write(worker.shard.changes())
    monkeypatch.setattr(ExponentiallyWeighted, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(ExponentiallyWeighted, "migrate", lambda self, version, columns: dict(columns))
    for first in (1, 2):
        twin = Worker(worker.parameters, SMOOTH.digest)
        twin.read()
        stored.restore(twin.shard)
        twin.shard.on_frame(frame([R], first=first))
        stored.write(twin.shard.changes())
    assert twin.shard.tables is not None
    assert twin.shard.tables["pumps"].columns["ewm.count"][0, 0] == 3


def test_ledger_rows_are_chained_over_a_restart() -> None:
    worker = running(ONE, TWO)
    end = worker.parameters.end
    before = [e.value for e in worker.shard.on_frame(frame([token(1, TWO.digest, end)]))]
    twin = Worker(worker.parameters, ONE.digest)
    twin.read()
    twin.shard.restore(worker.shard.snapshot())
    (row,) = ledger(twin.shard.on_frame(frame([token(2, ONE.digest, end)], first=1)))
    assert row["prev"] == hashlib.sha256(before[-1]).hexdigest()


@pytest.mark.parametrize("data", [b"", b"\x91\xc0", b"\x91" * 100_000, b"\x93\xc4\x01\x80\xc0\x90\x00"])
def test_other_bytes_are_no_snapshot(data: bytes) -> None:
    with pytest.raises(InvalidDefinition):
        running(ONE).shard.restore(data)


def test_state_of_another_version_is_refused() -> None:
    shard = running(ONE).shard
    with pytest.raises(InvalidDefinition, match="shard state of version 5"):
        shard.restore_parts(msgspec.msgpack.encode(Head(v=5)), {}, [])


def test_state_of_other_extractors_is_refused() -> None:
    worker, other = running(SMOOTH), running(ONE)
    worker.shard.on_frame(frame([R]))
    other.shard.on_frame(frame([R]))
    head, table = other.shard.changes().head, {k: v for k, v in worker.shard.changes().table.items() if v is not None}
    with pytest.raises(InvalidDefinition, match="other extractors"):
        running(ONE).shard.restore_parts(head, table, [])


def test_a_held_frame_is_read_back() -> None:
    raw = frame([R, None, b""], offsets=[3, 5, 2**60])
    again = decode_raw(encode_raw(raw))
    assert (again.partition, again.payloads, again.keys) == (raw.partition, raw.payloads, raw.keys)
    assert np.array_equal(again.offsets, raw.offsets)
    assert np.array_equal(again.timestamps, raw.timestamps)


@pytest.mark.parametrize(("data", "message"), [(b"\x90", "not a held frame"), (b"\x96\x02\x00\x90\x90\x90\x90", "version 2")])
def test_other_bytes_are_no_held_frame(data: bytes, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        decode_raw(data)
