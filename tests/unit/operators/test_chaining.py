"""The input's order downstream: any two generations' frames, cut anew after restarts, give each reading once and in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.chaining import Chaining, Gap, Owner, Taken, size
from swapstream.operators.frame import Frame
from swapstream.operators.plan import Pin
from swapstream.operators.recut import behind
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

OWNER = Owner("prod", "detect", "telemetry", 2, "pumps")
Rows = list[dict[str, Any]]


def scored(count: int, seed: int = 0) -> Scored:
    """Readings of messages with one or several each, offsets with holes; a champion, one that fails at times, one on some rows."""
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.choice([0, 1, 1, 1, 3], count)) + 5
    index = np.arange(count) - np.searchsorted(places, places)
    features = rng.normal(size=(count, 2))
    devices = [f"d-{number}" for number in rng.integers(0, 5, count)]
    frame = Frame(2, places, places + 1_000, places * 1_000, devices, features, index)
    some = np.flatnonzero(rng.random(count) < 0.4)
    roles = [
        role("champion", np.arange(count), features[:, 0], dict.fromkeys(np.flatnonzero(rng.random(count) < 0.2).tolist(), "broken")),
        role("canary", some, features[some, 1], dict.fromkeys(range(0, len(some), 3), "odd")),
    ]
    return Scored(frame, features, rng.random(count) < 0.3, roles, rng.random(count) < 0.2)


def role(name: str, rows: np.ndarray, scores: np.ndarray, errors: dict[int, str]) -> RoleScores:
    return RoleScores(name, Pin(f"{name}:1", "e" * 64), rows, scores, 1.5, errors)


def emitted(whole: Scored, start: int, stop: int, cuts: Sequence[int], epoch: int = 0) -> list[ScoresFrame]:
    """The readings from start to stop (exclusive) as a shard sends them, one frame between each two of the cuts."""
    edges = [start, *sorted({cut for cut in cuts if start < cut < stop}), stop]
    prev = place_of(whole, start - 1)
    found: list[ScoresFrame] = []
    for first, last in pairwise(edges):
        where = Provenance(*OWNER[:4], epoch, "p", "d" * 64, "identity:1:abc", OWNER.schema)
        found += [decode_scores(one.encode()) for one in scores_frames(part(whole, first, last), where, prev)]
        prev = found[-1].end
    return found


def part(whole: Scored, start: int, stop: int) -> Scored:
    rows = np.arange(start, stop)
    roles = []
    for one in whole.roles:
        mine = np.flatnonzero((one.rows >= start) & (one.rows < stop))
        errors = {place: one.errors[int(old)] for place, old in enumerate(mine) if int(old) in one.errors}
        roles.append(msgspec.structs.replace(one, rows=one.rows[mine] - start, scores=one.scores[mine], errors=errors))
    return Scored(whole.frame.take(rows), whole.features[rows], whole.warming[rows], roles, whole.anomalous[rows])


def place_of(whole: Scored, row: int) -> Position:
    return Position(int(whole.frame.offsets[row]), int(whole.frame.index[row])) if row >= 0 else BEFORE_ALL


def readings(taken: Sequence[Taken]) -> list[Position]:
    return [Position(*both) for frame in frames(taken) for both in zip(
        frame.column("offsets").tolist(), frame.column("index").tolist(), strict=True)]


def frames(taken: Sequence[Taken]) -> list[ScoresFrame]:
    return [one for one in taken if isinstance(one, ScoresFrame)]


def gaps(taken: Sequence[Taken]) -> list[Gap]:
    return [one for one in taken if isinstance(one, Gap)]


def rows(found: Sequence[ScoresFrame]) -> Rows:
    """By role, since a frame gives its roles one after the other."""
    return sorted((row for frame in found for row in frame.rows()), key=lambda row: row["role"])


def job(draw: Any, whole: Scored, start: int, stop: int, epoch: int) -> Iterator[ScoresFrame]:
    """All that an at-least-once job sends: now and then it ends somewhere, and does again what came after a checkpoint, in other frames."""
    reached, ends = start, draw(st.integers(0, 3))
    for life in range(ends + 1):
        begin = draw(st.integers(start, reached))
        cuts = draw(st.lists(st.integers(start, stop), max_size=8))
        sent = emitted(whole, begin, stop, cuts, epoch) if begin < stop else []
        sent = sent[: draw(st.integers(0, len(sent)))] if life < ends else sent
        reached = max(reached, begin + sum(map(len, sent)))
        yield from sent


@st.composite
def handovers(draw: Any) -> tuple[Scored, list[ScoresFrame]]:
    """What lies in the topic after a handover somewhere: blue's messages in their order, green's in theirs, interleaved anyhow."""
    whole = scored(draw(st.integers(2, 60)), draw(st.integers(0, 50)))
    token = draw(st.integers(1, len(whole.frame) - 1))
    blue, green = (list(job(draw, whole, *bounds)) for bounds in ((0, token, 0), (token, len(whole.frame), 1)))
    log = []
    while blue or green:
        log.append((blue if blue and (not green or draw(st.booleans())) else green).pop(0))
    return whole, log


@given(handovers(), st.data())
def test_two_generations_give_the_inputs_order_and_each_reading_once(both: tuple[Scored, list[ScoresFrame]], data: st.DataObject) -> None:
    whole, log = both
    chaining, taken = Chaining(whole=True), []
    for frame in log:
        taken += chaining.take(frame)
        if data.draw(st.booleans()):
            chaining = Chaining.restored(chaining.snapshot())
    assert readings(taken) == [place_of(whole, row) for row in range(len(whole.frame))]
    assert gaps(taken) == []
    assert chaining.held == 0
    assert [one.before for one in frames(taken)[1:]] == [one.end for one in frames(taken)[:-1]]


@given(handovers())
def test_each_reading_says_what_it_said_in_its_own_frame(both: tuple[Scored, list[ScoresFrame]]) -> None:
    whole, log = both
    chaining = Chaining(whole=True)
    taken = [one for frame in log for one in chaining.take(frame)]
    for row, (found, wanted) in enumerate(zip(rows(frames(taken)), rows(emitted(whole, 0, len(whole.frame), [])), strict=True)):
        assert {**found, "epoch": 0} == wanted, row


@given(st.integers(1, 60), st.integers(0, 20), st.data())
def test_what_is_behind_a_reading_is_what_a_frame_of_it_alone_says(count: int, seed: int, data: st.DataObject) -> None:
    whole = scored(count, seed)
    (frame,) = emitted(whole, 0, count, [])
    last = data.draw(st.integers(-1, count - 2))
    found = behind(frame, place_of(whole, last))
    (alone,) = emitted(whole, last + 1, count, [])
    assert (found.before, found.first, found.first_index, found.end) == (alone.before, alone.first, alone.first_index, alone.end)
    assert list(found.rows()) == list(alone.rows())
    assert decode_scores(found.encode()) == found


def test_features_are_recut_as_scores_are() -> None:
    whole = msgspec.structs.replace(scored(9), roles=[])
    where = Provenance(*OWNER[:4], 0, "p", "d" * 64, "identity:1:abc", OWNER.schema)
    (frame,) = features_frames(whole, Archive(("x", "y"), slice(None)), where, BEFORE_ALL)
    found = behind(frame, place_of(whole, 3))
    assert np.frombuffer(found.features, "<f8").reshape(-1, 2).tolist() == whole.features[4:].tolist()
    assert found.warming == whole.warming[4:].tobytes()


# -- gaps


@given(st.integers(3, 60), st.sets(st.integers(0, 59)), st.booleans())
def test_what_never_comes_is_told_and_nothing_else(count: int, lost: set[int], whole: bool) -> None:
    log = emitted(scored(count), 0, count, range(count))
    came = [frame for number, frame in enumerate(log) if number not in lost]
    chaining = Chaining(whole)
    taken = [one for frame in came for one in chaining.take(frame)] + chaining.give_up()
    assert frames(taken) == came
    begin = 0 if whole or not came else log.index(came[0])
    end = log.index(came[-1]) if came else 0
    missing = {log[number].end for number in lost if begin <= number < end}
    told = [one.end for one in log for gap in gaps(taken) if gap.upto and gap.after < one.end <= gap.upto]
    assert sorted(told) == sorted(missing)
    for gap in gaps(taken):
        assert taken[taken.index(gap) + 1].before == gap.upto  # type: ignore[union-attr]


def test_an_early_frame_waits_until_it_is_given_up() -> None:
    log = emitted(scored(30), 0, 30, [10, 20])
    chaining = Chaining()
    assert chaining.take(log[0], 100.0) == [log[0]]
    assert chaining.take(log[2], 101.0) == []
    assert chaining.give_up(100.9) == []
    gap, frame = chaining.give_up(101.0)
    assert isinstance(gap, Gap)
    assert (gap.owner, gap.after, gap.upto, gap.first) == (OWNER, log[0].end, log[1].end, Position(log[2].first, log[2].first_index))
    assert "readings behind offset" in str(gap)
    assert frame == log[2]
    assert chaining.take(log[1]) == []
    assert chaining.repeats == 10


def test_memory_is_bounded() -> None:
    log = emitted(scored(400), 0, 400, range(0, 400, 10))
    chaining = Chaining(max_held=4 * size(log[2]))
    chaining.take(log[0])
    taken = []
    for frame in log[2:]:
        taken += chaining.take(frame)
        assert chaining.held <= chaining.max_held
    assert len(gaps(taken)) == 1
    assert frames(taken) == log[2:]


def test_a_shard_that_began_anew_is_told_and_followed() -> None:
    whole = scored(30)
    chaining = Chaining()
    chaining.take(emitted(whole, 0, 10, [])[0])
    anew = msgspec.structs.replace(emitted(whole, 20, 30, [])[0], prev=-1, prev_index=0)
    gap, frame = chaining.take(anew)
    assert isinstance(gap, Gap)
    assert (gap.after, gap.upto) == (place_of(whole, 9), None)
    assert "began anew" in str(gap)
    assert (readings([frame]), frames([frame])[0].before) == (readings([anew]), gap.after)
    assert chaining.take(emitted(whole, 0, 30, [15])[0]) == [], "from the first record on, once more"


def test_a_reader_that_comes_later_begins_with_what_it_sees() -> None:
    log = emitted(scored(30), 0, 30, [10, 20])
    assert Chaining().take(log[1]) == [log[1]]
    assert Chaining(whole=True).take(log[1]) == []


def test_shards_schemas_and_deployments_have_chains_of_their_own() -> None:
    chaining = Chaining()
    (frame,) = emitted(scored(5), 0, 5, [])
    for field, value in (("partition", 1), ("schema", "fans"), ("deployment", "other"), ("namespace", "alice"), ("topic", "t")):
        assert chaining.take(frame) in ([frame], [])
        other = msgspec.structs.replace(frame, provenance=msgspec.structs.replace(frame.provenance, **{field: value}))
        assert chaining.take(other) == [other], field
    assert chaining.repeats == 4 * len(frame)


# -- what is stored


def test_what_is_stored_goes_on() -> None:
    log = emitted(scored(40), 0, 40, [10, 20, 30])
    chaining = Chaining()
    chaining.take(log[0], 5.0)
    chaining.take(log[3], 5.0)
    restored = Chaining.restored(chaining.snapshot(), now=50.0)
    assert (restored.held, restored.snapshot()) == (chaining.held, chaining.snapshot())
    assert restored.give_up(49.0) == []
    assert restored.take(log[1]) == [log[1]]
    assert restored.take(log[2]) == [log[2], log[3]]
    assert restored.held == 0


def test_what_version_1_stored_goes_on() -> None:
    log = emitted(scored(40), 0, 40, [10, 20, 30])
    restored = Chaining.restored((Path(__file__).parent / "chains.v1.msgpack").read_bytes())
    assert (restored.whole, restored.max_held, restored.held) == (True, 1_000_000, size(log[3]))
    assert rows(frames(restored.take(log[1]) + restored.take(log[2]))) == rows(log[1:])


@pytest.mark.parametrize("saved", [b"", b"\xc1", b"\x80", b"\xdf\xff\xff\xff\xff"])
def test_other_bytes_are_refused(saved: bytes) -> None:
    with pytest.raises(InvalidDefinition, match="not saved chains"):
        Chaining.restored(saved)


def test_a_later_version_is_refused() -> None:
    content = msgspec.msgpack.decode(Chaining().snapshot())
    with pytest.raises(InvalidDefinition, match="version 2"):
        Chaining.restored(msgspec.msgpack.encode(content | {"v": 2}))
