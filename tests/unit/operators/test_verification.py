"""Verification: nothing is found where nothing is wrong, however a job ran; what is falsified is found, and named first."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.operators.comparison import Divergence, Tolerance
from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.verification import Verified
from tests.support.past import Past, falsified, frames, replaced
from tests.support.shards import EWM, deployable, route

OF = {"s:1": "fans"}
FANS = route(type="fans", champion="s:1")
PLAIN = deployable("plain", champion="a:1")
SMOOTH = deployable("smooth", extractor=EWM, champion="b:1", challengers=("c:1", "d:1"))
ROUTED = deployable("routed", extractor=EWM, routes=(route("pump-1", champion="b:1", canary="c:1"), route(champion="d:1")))
ARCHIVE = deployable("archive", extractor=EWM)
MACHINES = deployable("machines", schema=("pumps", "belts", "fans"), extractor=EWM, of=OF, routes=(FANS,), champion="b:1")
PLANS = (SMOOTH, PLAIN, ROUTED, ARCHIVE, MACHINES)

Output = list[tuple[Any, bytes]]


def past(seed: int = 0, count: int = 40, **how: Any) -> Past:
    """Five plans after one another, in random order."""
    made = Past(*PLANS, seed=seed)
    made.readings(count)
    for plan in made.rng.sample(PLANS, len(PLANS)):
        made.swap(plan)
        made.readings(count)
    made.live(**how)
    return made


def swapped() -> Past:
    """One swap, from a plan that remembers to another."""
    made = Past(SMOOTH, ROUTED)
    made.readings(30)
    made.swap(ROUTED)
    made.readings(30)
    made.live()
    return made


def wrong(found: Verified) -> dict[str, int]:
    return {what: found.counts[what] for what in ("missing", "unexpected", "twice", "differs") if found.counts.get(what)}


def first(found: Verified) -> Divergence:
    assert found.first is not None
    return found.first


# -- nothing wrong


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_job_lived_through_nothing_diverges(seed: int) -> None:
    made = past(seed, crash=0.1)
    found = made.verify(size=1 + seed * 3)
    assert wrong(found) == {}
    assert found.first is None
    assert found.records == len(made.log)
    rows = sum(found.counts.get(topic, 0) for topic in ("scores", "features", "dead_letters", "anomalies"))
    assert found.counts["equal"] == rows > len(made.log)
    assert min(found.counts[topic] for topic in ("scores", "features", "dead_letters", "anomalies")) > 0
    assert found.counts["repeats"] == found.counts["unanswered"] == 0


@pytest.mark.parametrize("block", [1, 50])
def test_what_is_compared_bit_by_bit_is_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = past(crash=0.1)
    whole = made.verify()
    monkeypatch.setattr("swapstream.operators.verification.BLOCK", block)
    monkeypatch.setattr("swapstream.operators.verification.AHEAD", 60)
    assert made.verify(size=3) == whole


@pytest.mark.parametrize("place", [0, 1, 3, -1])
def test_it_can_start_from_every_snapshot(place: int) -> None:
    made = past(3)
    before = made.snapshots[place]
    found = made.verify(first=before.about.offset + 1, before=before)
    assert wrong(found) == {}
    assert found.records == sum(offset > before.about.offset for offset, _ in made.log)


def test_a_snapshot_before_the_span_warms_it_up() -> None:
    made = past(4)
    before = made.snapshots[2]
    found = made.verify(first=before.about.offset + 20, last=made.end - 30, before=before)
    assert wrong(found) == {}
    assert found.counts["equal"] > 0


def test_without_the_state_before_a_span_scores_differ() -> None:
    made = past(4)
    middle = made.end // 2
    made.log = [(offset, payload) for offset, payload in made.log if offset >= middle]
    assert wrong(made.verify(first=middle))


def test_where_a_deployment_started_anew_without_state_the_shard_does() -> None:
    made = Past(SMOOTH, ROUTED)
    made.readings(40)
    made.live()
    middle = made.end
    made.readings(40)
    made.live(start=middle)
    lives = [one for one in made.snapshots if one.about.why == "start"]
    assert [one.about.offset for one in lives] == [-1, middle - 1]
    assert wrong(made.verify(lives=lives[1:])) == {}
    assert wrong(made.verify())


def test_output_of_others_is_passed_over() -> None:
    made = swapped()
    place, frame = frames(made.output)[3]
    for change in ({"deployment": "another"}, {"namespace": "alice"}, {"partition": 1}, {"topic": "else"}):
        other = msgspec.structs.replace(frame, provenance=msgspec.structs.replace(frame.provenance, **change))
        assert wrong(made.verify([*made.output[:place], ("scores", other.encode()), *made.output[place:]])) == {}


# -- delivery


def test_repeats_are_allowed_at_least_once_and_only_then() -> None:
    made = past(5, crash=0.2, repeats=True)
    found = made.verify(repeats_allowed=True)
    assert wrong(found) == {}
    assert found.counts["repeats"] == found.counts["equal repeats"] > 0
    assert wrong(made.verify()) == {"twice": found.counts["repeats"]}


def test_a_repeat_with_other_content_is_found() -> None:
    made = swapped()
    _, frame = frames(made.output)[2]
    role = msgspec.structs.replace(frame.roles[0], scores=falsified(frame.roles[0]))
    output = [*made.output, ("scores", msgspec.structs.replace(frame, roles=[role, *frame.roles[1:]]).encode())]
    found = made.verify(output, repeats_allowed=True)
    assert wrong(found) == {"differs": 1}
    assert first(found).fields == ("score",)


def test_repeats_that_come_very_late_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapstream.operators.verification.BLOCK", 1)
    monkeypatch.setattr("swapstream.operators.verification.AHEAD", 2)
    made = swapped()
    _, frame = frames(made.output)[0]
    output = [*made.output, ("scores", frame.encode())]
    found = made.verify(output)
    assert wrong(found) == {"twice": len(frame) * 3}
    assert first(found).offset == frame.first
    assert wrong(made.verify(output, repeats_allowed=True)) == {}


def test_what_nobody_has_answered_yet_is_not_missing_in_an_open_span() -> None:
    made = swapped()
    made.readings(20)
    found = made.verify(open=True)
    assert wrong(found) == {}
    assert found.counts["unanswered"] > 0
    assert wrong(made.verify()) == {"missing": found.counts["unanswered"]}


# -- what is wrong


def test_a_falsified_score_is_named_with_both_sides() -> None:
    made = swapped()
    place, frame = next((place, frame) for place, frame in frames(made.output) if len(frame) > 3)
    challenger = msgspec.structs.replace(frame.roles[2], scores=falsified(frame.roles[2]))
    found = made.verify(replaced(made.output, place, roles=[*frame.roles[:2], challenger]))
    assert wrong(found) == {"differs": 1}
    said = first(found)
    assert (said.partition, said.offset) == (0, frame.column("offsets")[2])
    assert (said.what, said.row, said.fields) == ("differs", "scores (challenger 2)", ("score",))
    assert said.computed is not None
    assert said.emitted is not None
    assert said.computed["score"] != said.emitted["score"] == pytest.approx(said.computed["score"])
    assert str(said) == f"partition 0, offset {said.offset}: scores (challenger 2): differs in score"


@pytest.mark.parametrize(
    ("column", "field"),
    [("times", "time"), ("warming", "warming"), ("anomalous", "anomalous"), ("device", "device")],
)
def test_every_falsified_column_is_found(column: str, field: str) -> None:
    made = swapped()
    place, frame = next((p, f) for p, f in frames(made.output) if len(f) > 3 and len(f.devices) > 1)
    value = bytearray(getattr(frame, column))
    if column == "device":
        value[0] ^= 1
    else:
        value[-1 if column != "times" else -8] ^= 1
    found = made.verify(replaced(made.output, place, **{column: bytes(value)}))
    assert field in first(found).fields
    assert wrong(found).keys() == {"differs"}


@pytest.mark.parametrize("change", [{"epoch": 1}, {"plan_digest": "0" * 64}, {"extractor": "else"}, {"schema": "fans"}])
def test_a_wrong_epoch_or_plan_is_found(change: dict[str, Any]) -> None:
    made = swapped()
    place, frame = frames(made.output)[1]
    found = made.verify(replaced(made.output, place, provenance=msgspec.structs.replace(frame.provenance, **change)))
    said = first(found)
    assert (said.offset, said.what, said.fields) == (frame.first, "differs", tuple(change))
    assert said.emitted is not None
    assert {name: said.emitted[name] for name in change} == change
    assert wrong(found) == {"differs": len(frame) * len(frame.roles)}


@pytest.mark.parametrize("change", [{"model": "x:9"}, {"digest": "0" * 64}, {"threshold": 0.1}])
def test_a_wrong_model_is_found(change: dict[str, Any]) -> None:
    made = swapped()
    place, frame = frames(made.output)[1]
    roles = [msgspec.structs.replace(frame.roles[0], **change), *frame.roles[1:]]
    said = first(made.verify(replaced(made.output, place, roles=roles)))
    assert (said.offset, said.what, said.fields) == (frame.first, "differs", tuple(change))


def test_wrong_offsets_are_missing_here_and_unexpected_there() -> None:
    made = Past(SMOOTH)
    made.rng.choice = lambda options: options[-1]  # type: ignore[method-assign]  # every offset is followed by a hole
    made.readings(30)
    made.live()
    place, frame = frames(made.output)[0]
    offsets = np.frombuffer(frame.offsets, "<i8").copy()
    offsets[1] += 1
    found = made.verify(replaced(made.output, place, offsets=offsets.tobytes()))
    assert wrong(found) == {"missing": 3, "unexpected": 3}
    said = first(found)
    assert (said.what, said.offset, said.emitted) == ("missing", offsets[1] - 1, None)
    assert said.computed is not None


@pytest.mark.parametrize("topic", ["scores", "features", "dead_letters", "anomalies"])
def test_a_message_that_is_missing_is_found(topic: str) -> None:
    made = past(6)
    place = [place for place, (role, _) in enumerate(made.output) if role == topic][1]
    said = first(made.verify([*made.output[:place], *made.output[place + 1 :]]))
    assert (said.what, said.emitted) == ("missing", None)
    assert said.row.startswith(topic)


@pytest.mark.parametrize("topic", ["scores", "features", "dead_letters", "anomalies"])
def test_a_message_that_is_there_twice_is_found(topic: str) -> None:
    made = past(6)
    place = [place for place, (role, _) in enumerate(made.output) if role == topic][1]
    found = made.verify([*made.output[: place + 1], *made.output[place:]])
    assert wrong(found).keys() == {"twice"}
    said = first(found)
    assert (said.what, said.computed) == ("twice", None)
    assert said.row.startswith(topic)
    assert said.emitted is not None


def test_a_missing_row_is_found() -> None:
    made = swapped()
    place, frame = next((p, f) for p, f in frames(made.output) if len(f) > 3)
    role = frame.roles[1]
    rows = np.arange(1, len(frame), dtype="<i4").tobytes()
    roles = [frame.roles[0], msgspec.structs.replace(role, rows=rows, scores=role.scores[8:]), *frame.roles[2:]]
    found = made.verify(replaced(made.output, place, roles=roles))
    assert first(found).offset == frame.first
    assert "missing" in wrong(found)


def test_an_unexpected_dead_letter_is_found() -> None:
    made = swapped()
    letter = next(decode_dead_letter(value) for role, value in made.output if role == "dead_letters")
    _, frame = frames(made.output)[0]
    output = [*made.output, ("dead_letters", msgspec.structs.replace(letter, offset=frame.first).encode())]
    said = first(made.verify(output))
    assert (said.what, said.row, said.offset, said.computed) == ("unexpected", "dead_letters", frame.first, None)


def test_dead_letters_of_another_deployment_are_passed_over_and_those_of_older_releases_are_not() -> None:
    made = past(6)
    letters = [(place, decode_dead_letter(value)) for place, (role, value) in enumerate(made.output) if role == "dead_letters"]
    others = [("dead_letters", msgspec.structs.replace(letter, deployment="other").encode()) for _, letter in letters]
    assert wrong(made.verify([*made.output, *others])) == {}
    old = list(made.output)
    for place, letter in letters:
        old[place] = ("dead_letters", msgspec.structs.replace(letter, namespace="", deployment="", v=2).encode())
    assert wrong(made.verify(old)) == {}
    assert wrong(made.verify([*made.output, old[letters[0][0]]])) == {"twice": 1}


@pytest.mark.parametrize("change", [{"reason": "else"}, {"payload": b"other"}, {"timestamp": 1}])
def test_a_falsified_dead_letter_is_found(change: dict[str, Any]) -> None:
    made = swapped()
    place, value = next((place, value) for place, (role, value) in enumerate(made.output) if role == "dead_letters")
    letter = msgspec.structs.replace(decode_dead_letter(value), **change)
    said = first(made.verify([*made.output[:place], ("dead_letters", letter.encode()), *made.output[place + 1 :]]))
    assert (said.what, said.offset, said.fields) == ("differs", letter.offset, tuple(change))


@pytest.mark.parametrize("change", [{"score": 1.5}, {"contributions": {}}, {"epoch": 9}, {"values": {}}])
def test_a_falsified_anomaly_is_found(change: dict[str, Any]) -> None:
    made = swapped()
    place, value = next((place, value) for place, (role, value) in enumerate(made.output) if role == "anomalies")
    said = msgspec.json.decode(value)
    output = [*made.output[:place], ("anomalies", msgspec.json.encode(said | change)), *made.output[place + 1 :]]
    found = first(made.verify(output))
    assert (found.what, found.offset, found.fields) == ("differs", said["offset"], tuple(change))


def test_falsified_features_are_found() -> None:
    made = past(7)
    place, frame = frames(made.output, "features")[1]
    features = np.frombuffer(frame.features, "<u8").copy()
    features[1] ^= 1
    found = made.verify(replaced(made.output, place, features=features.tobytes()))
    assert wrong(found) == {"differs": 1}
    assert first(found).fields == ("features",)
    near = made.verify(
        replaced(made.output, place, features=features.tobytes()), tolerances=lambda model, digest: Tolerance(1e-6, 1.0)
    )
    assert wrong(near) == {}
    assert near.counts["within tolerance"] == 1


def test_of_several_divergences_the_first_is_named() -> None:
    made = swapped()
    output = made.output
    for place, frame in reversed(frames(output)[2:5]):
        role = msgspec.structs.replace(frame.roles[0], scores=falsified(frame.roles[0], 0))
        output = replaced(output, place, roles=[role, *frame.roles[1:]])
    found = made.verify(output)
    assert wrong(found) == {"differs": 3}
    assert first(found).offset == min(frame.first for _, frame in frames(output)[2:5])


def test_a_swap_that_was_not_made_is_found() -> None:
    """The token is in the log, and the output goes on under the plan before."""
    made, other = swapped(), Past(SMOOTH, ROUTED)
    other.log = [*made.log[:30], (made.log[30][0], b"{"), *made.log[31:]]
    other.live()
    found = made.verify(other.output)
    said = first(found)
    assert said.offset == made.log[30][0]
    assert (said.what, said.row) == ("unexpected", "dead_letters")
    assert found.counts["differs"] > 20


# -- tolerance


def near(made: Past) -> Output:
    """All of the champion's scores a little off."""
    output = made.output
    for place, frame in frames(output):
        scores = (np.frombuffer(frame.roles[0].scores, "<f8") * (1 + 1e-9)).tobytes()
        output = replaced(output, place, roles=[msgspec.structs.replace(frame.roles[0], scores=scores), *frame.roles[1:]])
    return output


def test_scores_of_models_whose_bits_may_differ_agree_within_their_tolerance() -> None:
    made = swapped()
    output = near(made)
    pins = {role.model: role.digest for _, frame in frames(output) for role in frame.roles[:1]}
    tolerance = {(model, digest): Tolerance(1e-7, 0.1) for model, digest in pins.items()}
    found = made.verify(output, tolerances=lambda model, digest: tolerance.get((model, digest), Tolerance()))
    assert wrong(found) == {}
    assert found.counts["within tolerance"] == sum(len(frame.roles[0].scores) // 8 for _, frame in frames(output))
    assert wrong(made.verify(output, tolerances=lambda model, digest: Tolerance(1e-11, 0.1)))
    assert wrong(made.verify(output))


def test_the_verdict_may_differ_where_the_score_lies_at_the_threshold() -> None:
    """The same score a little above here, a little below there: an anomaly of one side only."""
    made = Past(PLAIN)
    made.readings(40)
    made.live()
    place, frame = next((p, f) for p, f in frames(made.output) if any(f.anomalous))
    row = frame.anomalous.index(1)
    offset = int(frame.column("offsets")[row])
    scores = np.frombuffer(frame.roles[0].scores, "<f8").copy()
    # As if the threshold lay right below the score: the plan's, in what is computed, is far from it.
    quiet = bytearray(frame.anomalous)
    quiet[row] = 0
    output = [
        (role, value) for role, value in replaced(made.output, place, anomalous=bytes(quiet))
        if role != "anomalies" or msgspec.json.decode(value)["offset"] != offset
    ]  # fmt: skip
    wide = abs(scores[row] - frame.roles[0].threshold) / scores[row] * 1.01
    assert wrong(made.verify(output, tolerances=lambda model, digest: Tolerance(wide, 0.0))) == {}
    assert wrong(made.verify(output, tolerances=lambda model, digest: Tolerance(wide / 2, 0.0))) == {"differs": 1, "missing": 1}
