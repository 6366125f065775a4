"""The wire format of scores and features: parts, chains, roles on some of the rows, errors."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.frame import Frame
from swapstream.operators.plan import Pin
from swapstream.operators.score_sizes import MAX_BYTES
from swapstream.operators.scored import RoleScores, Scored
from swapstream.operators.scores import (
    BEFORE_ALL,
    Archive,
    Position,
    Provenance,
    ScoresFrame,
    decode_scores,
    features_frames,
    scores_frames,
)

WHERE = Provenance("prod", "detect", "telemetry", 0, 1, "p", "d" * 64, "identity:1:abc")
NAMES = ("x", "y")
ALL = Archive(NAMES, slice(None))


def scored(count: int, roles: list[RoleScores], device: str = "pump-{}", many: int = 7) -> Scored:
    """`count` records at offsets 10, 12, 14, … of `many` devices."""
    offsets = 10 + 2 * np.arange(count)
    devices = [device.format(i % many) for i in range(count)]
    features = np.arange(2.0 * count).reshape(count, 2)
    frame = Frame(0, offsets, offsets + 1_000, offsets * 1_000, devices, features)
    anomalous = np.arange(count) % 5 == 0
    return Scored(frame, features, np.arange(count) % 3 == 0, roles, anomalous)


def role(name: str, rows: Any, errors: dict[int, str] | None = None) -> RoleScores:
    rows = np.asarray(rows, np.int64)
    return RoleScores(name, Pin("m:1", "e" * 64), rows, rows / 2.0, 1.5, errors or {})


def read(some: Scored, prev: Position = BEFORE_ALL) -> list[ScoresFrame]:
    return [decode_scores(frame.encode()) for frame in scores_frames(some, WHERE, prev)]


def test_rows_are_what_went_in() -> None:
    (frame,) = read(scored(3, [role("champion", [0, 1, 2])]), prev=Position(8, 0))
    assert (frame.first, frame.last, frame.prev) == (10, 14, 8)
    rows = list(frame.rows())
    assert [row["offset"] for row in rows] == [10, 12, 14]
    assert [row["time"] for row in rows] == [10_000, 12_000, 14_000]
    assert [row["device"] for row in rows] == ["pump-0", "pump-1", "pump-2"]
    assert [row["score"] for row in rows] == [0.0, 0.5, 1.0]
    assert [row["warming"] for row in rows] == [True, False, False]
    assert [row["anomalous"] for row in rows] == [True, False, False]
    assert rows[0]["plan_digest"] == "d" * 64
    assert rows[0]["error"] is None


def test_roles_of_some_rows_keep_their_places() -> None:
    (frame,) = read(scored(6, [role("champion", [1, 4]), role("champion", [2]), role("canary", [2])]))
    assert frame.column("offsets").tolist() == [12, 14, 18]
    assert [(row["role"], row["offset"], row["score"]) for row in frame.rows()] == [
        ("champion", 12, 0.5),
        ("champion", 18, 2.0),
        ("champion", 14, 1.0),
        ("canary", 14, 1.0),
    ]


def test_records_that_no_model_answers_go_to_features_and_nowhere_else() -> None:
    some = scored(5, [role("champion", [1, 3])])
    (frame,) = features_frames(some, ALL, WHERE, Position(7, 0))
    assert frame.column("offsets").tolist() == [10, 14, 18]
    assert (frame.prev, frame.feature_names, frame.roles) == (7, NAMES, [])
    assert np.frombuffer(frame.features, "<f8").reshape(3, 2).tolist() == some.features[[0, 2, 4]].tolist()
    assert list(features_frames(scored(2, [role("champion", [0, 1])]), ALL, WHERE, BEFORE_ALL)) == []
    assert read(scored(2, [])) == []


def test_a_decoy_archives_beside_the_scores() -> None:
    some = msgspec.structs.replace(scored(5, [role("champion", [0, 1, 3])]), decoy=np.array([3, 0]))
    (frame,) = features_frames(some, Archive(("y",), [1]), WHERE, BEFORE_ALL)
    assert frame.column("offsets").tolist() == [10, 14, 16, 18]
    assert (frame.feature_names, np.frombuffer(frame.features, "<f8").tolist()) == (("y",), [1.0, 5.0, 7.0, 9.0])


def test_an_error_takes_the_place_of_its_score_only() -> None:
    (frame,) = read(scored(4, [role("champion", [0, 2, 3], {1: "broken"}), role("canary", [1])]))
    found = {(row["role"], row["offset"]): (row["score"], row["error"]) for row in frame.rows()}
    assert found["champion", 14] == (None, "broken")
    assert found["champion", 16] == (1.5, None)
    assert found["canary", 12] == (0.5, None)


def test_a_row_is_anomalous_in_the_role_that_decided() -> None:
    some = scored(6, [role("champion", range(6), {0: "broken"}), role("canary", range(6)), role("on_error", [0])])
    (frame,) = read(some)
    found = [(row["role"], row["offset"]) for row in frame.rows() if row["anomalous"]]
    assert found == [("champion", 20), ("on_error", 10)]


@pytest.mark.parametrize("routes", [40, 1_000, 5_000])
def test_many_routes_share_messages_without_filling_them(routes: int) -> None:
    some = scored(20_000, [role("champion", np.arange(first, 20_000, routes)) for first in range(routes)])
    messages = [frame.encode() for frame in scores_frames(some, WHERE, BEFORE_ALL)]
    assert max(map(len, messages)) < MAX_BYTES
    assert len(messages) < {40: 5, 1_000: 5, 5_000: 15}[routes]
    frames = list(map(decode_scores, messages))
    assert sorted(row["offset"] for frame in frames for row in frame.rows()) == some.frame.offsets.tolist()
    assert [frame.prev for frame in frames] == [-1, *(frame.last for frame in frames[:-1])]


@pytest.mark.parametrize(
    ("count", "device", "many", "errors"),
    [(60_000, "pump-{}", 7, 0), (4_000, "ü" * 120 + "{}", 4_000, 0), (30_000, "ü" * 120 + "{}", 200, 0), (10_000, "pump-{}", 7, 10_000)],
)
def test_large_frames_come_in_parts_that_chain(count: int, device: str, many: int, errors: int) -> None:
    reasons = dict.fromkeys(range(errors), "r" * 200)
    some = scored(count, [role("champion", np.arange(count), reasons), role("canary", np.arange(0, count, 3))], device, many)
    messages = [frame.encode() for frame in scores_frames(some, WHERE, Position(4, 0))]
    assert len(messages) > 1
    assert max(map(len, messages)) < MAX_BYTES + 2_000
    frames = list(map(decode_scores, messages))
    assert [frame.prev for frame in frames] == [4, *(frame.last for frame in frames[:-1])]
    assert np.concatenate([frame.column("offsets") for frame in frames]).tolist() == some.frame.offsets.tolist()
    rows = [row for frame in frames for row in frame.rows()]
    assert [row["offset"] for row in rows if row["role"] == "canary"] == some.frame.offsets[::3].tolist()
    assert [row["device"] for row in rows if row["role"] == "champion"] == some.frame.devices
    assert sum(row["error"] is not None for row in rows) == errors


def test_readings_of_one_message_may_end_in_two_frames() -> None:
    some = scored(60_000, [role("champion", np.arange(60_000))])
    index = np.arange(60_000) % 50_000
    offsets = np.where(np.arange(60_000) < 50_000, 10, 11)
    some = msgspec.structs.replace(some, frame=msgspec.structs.replace(some.frame, offsets=offsets, index=index))
    frames = read(some, Position(9, 4))
    assert len(frames) > 1
    assert frames[0].before == (9, 4)
    assert [frame.before for frame in frames[1:]] == [frame.end for frame in frames[:-1]]
    assert np.concatenate([frame.column("index") for frame in frames]).tolist() == index.tolist()
    assert [(row["offset"], row["index"]) for frame in frames for row in frame.rows()] == list(
        zip(offsets.tolist(), index.tolist(), strict=True))


def test_readings_that_are_alone_need_no_bytes_for_it() -> None:
    (frame,) = read(scored(3, [role("champion", [0, 1, 2])]))
    assert (frame.index, frame.column("index").tolist(), frame.first_index, frame.last_index) == (b"", [0, 0, 0], 0, 0)


def test_large_features_come_in_parts_that_chain() -> None:
    names = tuple(f"f{i}" for i in range(1_000))
    some = msgspec.structs.replace(scored(200, []), features=np.ones((200, 1_000)))
    frames = list(features_frames(some, Archive(names, slice(None)), WHERE, Position(4, 0)))
    assert len(frames) > 1
    assert [frame.prev for frame in frames] == [4, *(frame.last for frame in frames[:-1])]
    assert sum(map(len, frames)) == 200


@pytest.mark.parametrize("value", [b"", b"\xa1\xff", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff"])
def test_other_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(InvalidDefinition, match="not a frame of scores"):
        decode_scores(value)


def test_another_version_is_refused() -> None:
    (frame,) = read(scored(1, [role("champion", [0])]))
    with pytest.raises(InvalidDefinition, match="version 3"):
        decode_scores(msgspec.structs.replace(frame, v=3).encode())
