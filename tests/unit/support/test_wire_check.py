"""The independent check: it finds nothing where nothing is wrong, finds what is falsified, and knows nothing of Swapstream."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support import wire_check
from tests.support.past import Past, falsified, frames, replaced
from tests.support.shards import DEPLOYMENT, EWM, NAMESPACE, deployable, frame, model, route
from tests.support.wire_check import Findings, Message, check

PLAIN = deployable("plain", champion="a:1", challengers=("b:1", "c:1"))
ROUTED = deployable("routed", routes=(route("pump-1", champion="a:1", canary="b:1"), route("pump-2", champion="c:1")))
SMOOTH = deployable("smooth", extractor=EWM, schema=("pumps", "belts"), champion="d:1")
Output = list[tuple[Any, bytes]]


def past(seed: int = 0, repeats: bool = False) -> Past:
    made = Past(PLAIN, ROUTED, SMOOTH, seed=seed)
    for plan in (ROUTED, SMOOTH, PLAIN):
        made.readings(40)
        made.swap(plan)
    made.readings(40)
    made.live(crash=0.2 if repeats else 0.05, repeats=repeats)
    return made


def arrived() -> tuple[Past, int]:
    """A plan that arrived in the midst of the log, and the offset of the first record under it."""
    made = Past(PLAIN, ROUTED)
    made.readings(80)
    worker = made.worker()
    for part in (made.log[:20], made.log[20:40], made.log[40:60], made.log[60:]):
        if part[0] == made.log[40]:
            made.parameters.cut(1, ROUTED.digest, {}, arrival=True)
            worker.read()
        made.emissions += worker.shard.on_frame(frame([payload for _, payload in part], offsets=[offset for offset, _ in part]))
    return made, made.log[40][0]


def ledger(made: Past, **changes: Any) -> list[bytes]:
    """What the shard said on it, its rows changed."""
    return [msgspec.json.encode(msgspec.json.decode(one.value) | changes) for one in made.emissions if one.role == "ledger"]


def checked(made: Past, output: Output | None = None, rows: list[bytes] | None = None, **how: Any) -> Findings:
    def said(*roles: str) -> list[Message]:
        return [Message(0, n, value) for n, (role, value) in enumerate(output or made.output) if role in roles]

    told = [Message(0, n, value) for n, value in enumerate(ledger(made) if rows is None else rows)]
    telemetry = [Message(0, offset, payload) for offset, payload in made.log]
    parameters = [Message(0, n, value) for n, value in enumerate(made.parameters.records)]
    return check(telemetry, parameters, said("scores", "features"), said("dead_letters"), told, NAMESPACE, DEPLOYMENT, **how)


def test_it_imports_nothing_of_swapstream() -> None:
    tree = ast.parse(Path(wire_check.__file__).read_text())
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in names if name.startswith(("swapstream", "tests"))]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_wrong_where_nothing_is(seed: int) -> None:
    made = past(seed)
    found = checked(made, plan=PLAIN.digest)
    assert found.lines == []
    assert found.checked["records"] == len(made.log) - 3
    assert min(found.checked["rows"], found.checked["scores"]) > 100


def test_scores_of_pca_are_what_numpy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    made_of = {ref: model(ref, ("temperature", "pressure"), "pca") for ref in ("p:1", "q:1")}
    monkeypatch.setattr("tests.support.shards.model", lambda ref, features, *_: made_of[ref])
    made = Past(deployable("pca", champion="p:1", canary="q:1"))
    made.readings(50)
    made.live()
    found = checked(made)
    assert (found.lines, found.checked["scores"] > 50) == ([], True)


def kinds(found: Findings) -> set[str]:
    return set(found.counts)


def test_a_falsified_score_is_found() -> None:
    made = past()
    place, frame = frames(made.output)[2]
    scores = (np.frombuffer(frame.roles[1].scores, "<f8") + 0.01).tobytes()
    roles = [frame.roles[0], msgspec.structs.replace(frame.roles[1], scores=scores), *frame.roles[2:]]
    found = checked(made, replaced(made.output, place, roles=roles))
    assert found.counts == {"score": len(frame)}
    assert f"(0, {frame.first}, 0)" in found.lines[0]


@pytest.mark.parametrize("change", [{"epoch": 1}, {"plan_digest": ROUTED.digest}])
def test_a_wrong_version_is_found(change: dict[str, Any]) -> None:
    made = past()
    token = made.log[40][0]
    place, frame = next((p, f) for p, f in frames(made.output) if f.first > token and f.provenance.epoch == 2)
    found = checked(made, replaced(made.output, place, provenance=msgspec.structs.replace(frame.provenance, **change)))
    assert "plan" in kinds(found)
    assert str(frame.first) in found.lines[0]


def test_a_first_plan_that_was_not_submitted_is_found() -> None:
    made = past()
    place, frame = frames(made.output)[1]
    assert frame.provenance.epoch == 0
    other = msgspec.structs.replace(frame.provenance, plan_digest=SMOOTH.digest)
    assert "plan" in kinds(checked(made, replaced(made.output, place, provenance=other), plan=PLAIN.digest))
    assert kinds(checked(made, plan=SMOOTH.digest)) == {"plan"}


def test_a_cut_at_arrival_counts_from_where_the_ledger_says() -> None:
    made, offset = arrived()
    assert {(frame.first >= offset, frame.provenance.epoch) for _, frame in frames(made.output)} == {(False, 0), (True, 1)}
    assert checked(made, plan=PLAIN.digest).lines == []


@pytest.mark.parametrize("late", [False, True])
def test_a_wrong_version_beside_an_arrival_is_found(late: bool) -> None:
    made, offset = arrived()
    place, frame = [(place, frame) for place, frame in frames(made.output) if (frame.first > offset) == late][-1 if late else 0]
    epoch, plan = (0, PLAIN) if late else (1, ROUTED)
    other = msgspec.structs.replace(frame.provenance, epoch=epoch, plan_digest=plan.digest)
    found = checked(made, replaced(made.output, place, provenance=other), plan=PLAIN.digest)
    assert found.counts["plan"] >= len(frame)


def test_an_arrival_elsewhere_than_the_ledger_says_is_found() -> None:
    made, offset = arrived()
    for wrong in ({"offset": offset + 5}, {"offset": offset - 5}, {"partition": 1}, {"plan": PLAIN.digest}, {"event": "rejected"}):
        assert kinds(checked(made, rows=ledger(made, **wrong))) == {"plan"}, wrong
    assert kinds(checked(made, rows=[])) == {"plan"}


@pytest.mark.parametrize("topic", ["scores", "dead_letters"])
def test_what_is_missing_or_twice_is_found(topic: str) -> None:
    made = past()
    place = [n for n, (role, _) in enumerate(made.output) if role == topic][3]
    assert "missing" in kinds(checked(made, [*made.output[:place], *made.output[place + 1 :]]))
    assert kinds(checked(made, [*made.output[: place + 1], *made.output[place:]])) <= {"twice", "roles"} != set()


def test_a_role_that_is_missing_or_another_models_is_found() -> None:
    made = past()
    place, frame = frames(made.output)[1]
    assert kinds(checked(made, replaced(made.output, place, roles=frame.roles[:-1]))) == {"roles"}
    other = msgspec.structs.replace(frame.roles[0], digest=frame.roles[1].digest)
    assert "roles" in kinds(checked(made, replaced(made.output, place, roles=[other, *frame.roles[1:]])))


def test_a_row_and_a_dead_letter_of_one_record_are_found() -> None:
    made = past()
    letter = next(value for role, value in made.output if role == "dead_letters")
    frame = frames(made.output)[0][1]
    moved = msgspec.msgpack.encode(msgspec.msgpack.decode(letter) | {"offset": frame.first})
    assert kinds(checked(made, [*made.output, ("dead_letters", moved)])) == {"twice"}


def test_rows_of_a_record_that_is_none_are_found() -> None:
    made = past()
    made.log = made.log[:-1] if made.log[-1][1] else made.log[:-2]
    made.log = [(offset, payload) for offset, payload in made.log if offset != frames(made.output)[0][1].first]
    assert "unexpected" in kinds(checked(made))


def test_repeats_are_wrong_but_for_at_least_once() -> None:
    made = past(repeats=True)
    assert checked(made).counts
    assert checked(made, repeats=True).lines == []
    place, frame = frames(made.output)[4]
    role = msgspec.structs.replace(frame.roles[0], scores=falsified(frame.roles[0]))
    again = msgspec.structs.replace(frame, roles=[role, *frame.roles[1:]]).encode()
    assert checked(made, [*made.output[:place], ("scores", again), *made.output[place:]], repeats=True).counts


def test_what_need_not_be_answered_yet_is_not_looked_at() -> None:
    made = past()
    end = made.end
    made.readings(10)
    assert kinds(checked(made)) == {"missing"}
    assert checked(made, ends={0: end - 1}).lines == []
