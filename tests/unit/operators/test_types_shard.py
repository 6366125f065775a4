"""A shard whose plan has several schemas: tables, chains and swaps by schema, and readings that share a message."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.operators.dead_letters import MAX_PAYLOAD
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import decode_scores
from tests.support.sent import frames, letters
from tests.support.shards import (
    EWM,
    Parameters,
    Stored,
    Worker,
    belt,
    deployable,
    fan,
    frame,
    reading,
    route,
    running,
    token,
)

OF = {"f:1": "fans", "f:2": "fans", "g:1": "fans-2", "b:1": "belts"}
FANS, BELTS = route(type="fans", champion="f:1"), route(type="belts", champion="b:1")
PUMPS = deployable("pumps", extractor=EWM, champion="a:1")
BOTH = deployable("both", schema=("pumps", "fans"), extractor=EWM, of=OF, routes=(FANS,), champion="a:1")
NEWER = deployable("newer", schema=("pumps", "fans-2"), extractor=EWM, of=OF, routes=(route(type="fans-2", champion="g:1"),),
                   champion="a:1")
ALL = deployable("all", schema=("belts", "pumps", "fans"), extractor=EWM, of=OF, routes=(FANS, BELTS), champion="a:1")
ARCHIVE = deployable("archive", schema=("pumps", "fans"), of=OF, routes=(FANS,))
COLUMNS = deployable("columns", schema="belts", extractor=EWM, champion="a:1")


def readings(emissions: list[Emission]) -> list[tuple[str, int, int]]:
    """(schema, offset, index) of each reading in scores and features."""
    return [
        (found.provenance.schema, offset, index)
        for found in frames(emissions)
        for offset, index in zip(found.column("offsets").tolist(), found.column("index").tolist(), strict=True)
    ]


def warming(emissions: list[Emission]) -> dict[str, list[bool]]:
    return {found.provenance.schema: [bool(byte) for byte in found.warming] for found in frames(emissions)}


# -- schemas


def test_a_frame_out_holds_readings_of_one_schema_and_says_which() -> None:
    out = running(ALL).shard.on_frame(frame([reading(), fan(), belt("b", [[1, 2], [3, 4]]), reading(), fan()]))
    assert readings(out) == [("belts", 2, 0), ("belts", 2, 1), ("pumps", 0, 0), ("pumps", 3, 0), ("fans", 1, 0), ("fans", 4, 0)]
    assert {found.provenance.schema: found.roles[0].model for found in frames(out)} == {
        "pumps": "a:1", "fans": "f:1", "belts": "b:1"}


def test_each_schema_has_its_chain() -> None:
    worker = running(ALL)
    out = []
    for first, payloads in ((0, [reading(), fan()]), (2, [belt("b", [[1, 2]] * 3)]), (3, [fan(), belt("b", [[1, 2]] * 2)])):
        out += worker.shard.on_frame(frame(payloads, first=first))
    chains: dict[str, list[Any]] = {}
    for found in frames(out):
        chains.setdefault(found.provenance.schema, []).append((found.before, (found.first, found.first_index), found.end))
    assert chains == {
        "pumps": [((-1, 0), (0, 0), (0, 0))],
        "fans": [((-1, 0), (1, 0), (1, 0)), ((1, 0), (3, 0), (3, 0))],
        "belts": [((-1, 0), (2, 0), (2, 2)), ((2, 2), (4, 0), (4, 1))],
    }


def test_a_schema_has_its_own_devices() -> None:
    """The same name in two schemas is two devices."""
    worker = running(BOTH)
    worker.shard.on_frame(frame([reading("x"), reading("x"), reading("x")]))
    assert warming(worker.shard.on_frame(frame([reading("x"), fan("x")], first=3))) == {"pumps": [False], "fans": [True]}


def test_a_message_of_no_schema_of_the_plan_is_a_dead_letter() -> None:
    worker = running(BOTH)
    out = worker.shard.on_frame(frame([fan(), belt("b", [[1, 2]]), reading()]))
    assert [(letter.offset, letter.index, letter.reason) for letter in letters(out)] == [(1, None, "schema")]
    assert "kind is 'belt'; the plan's schemas have fan" in letters(out)[0].detail
    assert readings(out) == [("pumps", 2, 0), ("fans", 0, 0)]


def test_a_route_of_a_type_leaves_the_others_without_a_model() -> None:
    out = running(ARCHIVE).shard.on_frame(frame([reading(), fan()]))
    assert [(emission.role, decode_scores(emission.value).provenance.schema) for emission in out if emission.role != "anomalies"] == [
        ("features", "pumps"), ("scores", "fans")]


def test_an_anomaly_says_which_reading_of_which_schema() -> None:
    out = running(deployable("one", schema="belts", champion="a:1")).shard.on_frame(frame([belt("b", [[0, 0], [0, 90], [0, 0]])]))
    (found,) = [msgspec.json.decode(emission.value) for emission in out if emission.role == "anomalies"]
    assert (found["schema"], found["offset"], found["index"], found["values"]) == (
        "belts", 0, 1, {"temperature": 0.0, "pressure": 90.0})


# -- swaps


def test_a_new_schema_goes_live_at_a_swap_decided_by_log_position() -> None:
    worker = running(PUMPS, BOTH)
    end = worker.parameters.end
    out = worker.shard.on_frame(frame([fan(), reading(), token(1, BOTH.digest, end), fan(), reading()]))
    assert [(letter.offset, letter.reason) for letter in letters(out)] == [(0, "invalid")]
    assert readings(out) == [("pumps", 1, 0), ("pumps", 4, 0), ("fans", 3, 0)]
    assert [found.before.offset for found in frames(out)] == [-1, 1, -1]


def test_devices_of_a_schema_that_stays_go_on_and_of_one_that_left_start_anew() -> None:
    worker = running(BOTH, PUMPS)
    end = worker.parameters.end
    worker.shard.on_frame(frame([payload for _ in range(3) for payload in (reading(), fan())]))
    to_pumps = worker.shard.on_frame(frame([token(1, PUMPS.digest, end), reading()], first=6))
    back = worker.shard.on_frame(frame([token(2, BOTH.digest, end), reading(), fan()], first=8))
    assert warming(to_pumps) == {"pumps": [False]}
    assert warming(back) == {"pumps": [False], "fans": [True]}
    assert {found.provenance.schema: found.before.offset for found in frames(back)} == {"pumps": 7, "fans": 5}


def test_a_schema_of_the_same_type_takes_the_devices_over() -> None:
    """A schema never changes: what is called another way is the next one. What knows the same fields goes on."""
    keeping: tuple[Any, ...] = ({"ewm": {"halflife": 3, "warmup": 2, "statistics": ["residual"], "fields": ["speed"]}},)
    before = deployable("before", schema=("pumps", "fans"), extractor={"pumps": EWM, "fans": keeping})
    after = deployable("after", schema=("pumps", "fans-2"), extractor={"pumps": EWM, "fans-2": keeping})
    worker = running(before, after)
    worker.shard.on_frame(frame([fan(), fan(), fan()]))
    newer = msgspec.msgpack.encode({"kind": "fan", "device": "fan-1", "time": 5, "values": [1.0, 2.0]})
    out = worker.shard.on_frame(frame([token(1, after.digest, worker.parameters.end), newer], first=3))
    assert warming(out) == {"fans-2": [False]}


def test_what_changes_gave_over_time_is_the_snapshot() -> None:
    parameters = Parameters()
    parameters.publish(BOTH, PUMPS, ALL, NEWER)
    worker, stored = Worker(parameters, BOTH.digest), Stored()
    worker.read()
    end, first = parameters.end, 0
    for payloads in (
        [reading(), fan()],
        [token(1, ALL.digest, end), belt(["x", "y"], [[1, 2], [3, 4]]), fan()],
        [fan("fan-2"), token(2, PUMPS.digest, end), reading()],
        [token(3, BOTH.digest, end), fan()],
        [token(4, NEWER.digest, end), reading("pump-2")],
        [token(5, ALL.digest, end), token(6, BOTH.digest, end), b"{"],
    ):
        worker.shard.on_frame(frame(payloads, first=first))
        stored.write(worker.shard.changes())
        first += len(payloads)
        twin = Worker(parameters, BOTH.digest)
        twin.read()
        stored.restore(twin.shard)
        assert twin.shard.snapshot() == worker.shard.snapshot()
        again = Worker(parameters, BOTH.digest)
        again.read()
        again.shard.restore(worker.shard.snapshot())
        written = Stored()
        written.write(again.shard.changes())
        assert written.table.keys() >= {key for key in stored.table if key.endswith("layout")}
        assert again.shard.snapshot() == worker.shard.snapshot()


def test_a_swap_writes_only_the_tables_that_it_changed() -> None:
    worker = running(PUMPS, BOTH)
    worker.shard.on_frame(frame([reading()]))
    worker.shard.changes()
    worker.shard.on_frame(frame([token(1, BOTH.digest, worker.parameters.end)], first=1))
    change = worker.shard.changes()
    assert change.cleared == ("fans@",)
    assert {key.partition("@")[0] for key in change.table} == {"fans"}


def test_plans_that_contradict_themselves_are_rejected_and_stop_nothing() -> None:
    worker = running(PUMPS, BOTH)
    twice = msgspec.structs.replace(BOTH.plan, inputs=(*BOTH.plan.inputs, *BOTH.plan.inputs))
    wrong = msgspec.structs.replace(BOTH.plan.inputs[1], schema=msgspec.structs.replace(BOTH.plan.inputs[1].schema, name="pipes"))
    misnamed = msgspec.structs.replace(BOTH.plan, inputs=(BOTH.plan.inputs[0], wrong))
    none = msgspec.structs.replace(BOTH.plan, inputs=())
    bodies = [plan.encode() for plan in (twice, misnamed, none)]
    for body in bodies:
        worker.parameters.define("plan", "bad", body)
    worker.read()
    end = worker.parameters.end
    swaps = [token(1 + i, hashlib.sha256(body).hexdigest(), end) for i, body in enumerate(bodies)]
    out = worker.shard.on_frame(frame([*swaps, reading()]))
    rows = [msgspec.json.decode(emission.value) for emission in out if emission.role == "ledger"]
    assert [row["event"] for row in rows] == ["rejected"] * 3
    assert ["of name 'pumps'" in rows[0]["reason"], "calls itself 'fans'" in rows[1]["reason"], "no schema" in rows[2]["reason"]] == [
        True] * 3
    assert readings(out) == [("pumps", 3, 0)]


# -- readings that share a message


def test_a_bad_reading_of_a_message_harms_only_itself_and_is_known_by_its_index() -> None:
    values = [[1.0, 2.0], [math.nan, 2.0], [3.0, 4.0], [5.0, math.inf]]
    out = running(COLUMNS).shard.on_frame(frame([belt("b", values), belt("b", values[:1])]))
    assert readings(out) == [("belts", 0, 0), ("belts", 0, 2), ("belts", 1, 0)]
    first, second = letters(out)
    assert [(one.offset, one.index, one.reason) for one in (first, second)] == [(0, 1, "not_finite"), (0, 3, "not_finite")]
    assert first.payload == belt("b", values)
    assert (second.payload, second.size, second.digest) == (None, first.size, first.digest)


def test_readings_in_and_out_are_as_many_whatever_they_hold() -> None:
    rng = np.random.default_rng(0)
    payloads, sent = [], 0
    for _ in range(200):
        values = rng.normal(size=(int(rng.integers(1, 30)), 2))
        values[rng.random(values.shape) < 0.02] = np.nan
        payloads.append(belt([f"b-{i % 3}" for i in range(len(values))], values.tolist()))
        sent += len(values)
    out = running(COLUMNS).shard.on_frame(frame(payloads))
    told = [(offset, index) for _, offset, index in readings(out)] + [(one.offset, one.index) for one in letters(out)]
    assert len(told) == len(set(told)) == sent


@pytest.mark.parametrize("size", [1, 7, 200])
def test_scores_do_not_depend_on_messages_or_frames(size: int) -> None:
    values = np.random.default_rng(1).normal(size=(200, 2)).tolist()
    payloads = [belt("b", values[first : first + size], 1_000 + first) for first in range(0, 200, size)]
    worker, bits = running(COLUMNS), b""
    for first, payload in enumerate(payloads):
        for found in frames(worker.shard.on_frame(frame([payload], first=first, logged=10_000))):
            bits += found.roles[0].scores
    whole = frames(running(COLUMNS).shard.on_frame(frame([belt("b", values)], logged=10_000)))
    assert bits == whole[0].roles[0].scores


def test_large_frames_are_decoded_in_portions_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads: list[bytes | None] = [belt("b", [[i, 1.0], [i, 2.0]]) for i in range(50)]
    payloads[7], payloads[49] = None, b"\xc0"
    whole = running(COLUMNS).shard.on_frame(frame(payloads))
    monkeypatch.setattr("swapstream.operators.scoring.DECODED_AT_ONCE", 200)
    worker = running(COLUMNS)
    parts = worker.shard.on_frame(frame(payloads))
    assert len(frames(parts)) > 10
    assert readings(parts) == readings(whole)
    assert [(one.offset, one.reason) for one in letters(parts)] == [(7, "empty"), (49, "invalid")]
    assert [found.before for found in frames(parts)][1:] == [found.end for found in frames(parts)][:-1]
    assert b"".join(found.roles[0].scores for found in frames(parts)) == frames(whole)[0].roles[0].scores


def test_a_message_larger_than_a_dead_letter_may_be_is_named_by_offset_and_digest() -> None:
    large = b"\xc0" * (10 * 2**20)
    (letter,) = letters(running(PUMPS).shard.on_frame(frame([reading(), large])))
    assert len(large) > MAX_PAYLOAD
    assert (letter.payload, letter.offset, letter.size) == (None, 1, len(large))
    assert letter.digest == hashlib.sha256(large).hexdigest()
    assert len(letter.encode()) < 1_000


def test_a_message_of_many_bad_readings_costs_little_for_each() -> None:
    values = np.full((20_000, 2), np.nan).tolist()
    out = running(COLUMNS).shard.on_frame(frame([belt("b", values)]))
    assert len(out) == 20_000
    assert sum(len(emission.value) for emission in out) < 10 * 2**20
