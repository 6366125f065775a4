"""Bytes of version 1, as they were once written: every later release reads them (C8).

Made by `python -m tests.unit.operators.test_v1`, once for each format; a file that is there is never written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from swapstream.operators.cut import Cut
from swapstream.operators.dead_letters import dead_letter, decode_dead_letter
from swapstream.operators.definitions import Definitions
from swapstream.operators.outputs import Chain
from swapstream.operators.plan import FOR_EVER, Plan
from swapstream.operators.scores import BEFORE_ALL, Position, decode_scores
from swapstream.operators.shard_state import decode_raw, encode_raw
from swapstream.operators.statement import decode_definition, encode_definition
from swapstream.operators.token import Token
from tests.support.first_written import write_missing
from tests.support.shards import EWM, Parameters, Worker, deployable, frame, reading, route, running, token

FOLDER = Path(__file__).parent / "v1"
PLAN = deployable("p", extractor=("identity", *EWM), routes=(route("pump-*", champion="a:1", canary="b:1", threshold=2.5),))


def v1(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


def lived() -> tuple[Worker, list[bytes]]:
    made = running(PLAN, partition=2)
    payloads = [reading("pump-1", (1.0, 2.0)), reading("pump-2", (3.0, 4.0)), token(1, PLAN.digest, 99, 2), reading()]
    out = made.shard.on_frame(frame(payloads, first=10, partition=2))
    return made, [emission.value for emission in out if emission.role == "scores"]


def examples() -> dict[str, Callable[[], bytes]]:
    parameters = Parameters()
    parameters.publish(PLAN)
    return {
        "plan": PLAN.plan.encode,
        "definition": lambda: parameters.records[-1] or b"",
        "cut": Cut("prod", "detect", 3, "d" * 64, "telemetry", {0: 10, 1: 20}).encode,
        "token": lambda: token(3, "d" * 64, 17, 1),
        "held": lambda: encode_raw(frame([reading(), None, b""], offsets=[3, 5, 8], partition=2)),
        "dead_letter": dead_letter("telemetry", 1, 2, 3, "malformed", "why", b"{").encode,
        "scores": lambda: lived()[1][0],
        "shard": lambda: lived()[0].shard.snapshot(),
    }


@pytest.mark.parametrize("name", ["token", "held"])
def test_the_same_is_written_in_the_same_bytes_today(name: str) -> None:
    """A format that grew by an optional field may leave this test, not those below."""
    assert examples()[name]() == v1(name)


def test_plan() -> None:
    plan = Plan.decode(v1("plan"))
    (only,) = plan.routes
    (part,) = plan.inputs
    assert (plan.name, part.schema.name, part.extractor[0], only.devices) == ("p", "pumps", "identity", "pump-*")
    assert (only.type, plan.devices) == ("", FOR_EVER)
    assert [(role, pin.name) for role, pin in only.roles()] == [("champion", "a:1"), ("canary", "b:1")]
    assert only.threshold == 2.5
    assert plan.encode() == v1("plan")


def test_definition() -> None:
    statement = decode_definition(v1("definition"))
    assert (statement.kind, statement.namespace, statement.name) == ("plan", "prod", "p")
    assert statement.body == v1("plan")
    definitions = Definitions()
    definitions.add(0, v1("definition"))
    assert definitions.body("prod", "plan", Plan.decode(v1("plan")).digest) == v1("plan")
    assert encode_definition("plan", "prod", "p", v1("plan"), "a person", 1, "")[1] == v1("definition")


def test_cut() -> None:
    assert Cut.decode(v1("cut")) == Cut("prod", "detect", 3, "d" * 64, "telemetry", {0: 10, 1: 20})


def test_token() -> None:
    assert Token.decode(v1("token")) == Token(
        "swap", "prod", "detect", 3, "d" * 64, "telemetry", 1, 17, "a person", 1, ""
    )


def test_held_frame() -> None:
    held = decode_raw(v1("held"))
    assert (held.partition, held.payloads, held.keys) == (2, [reading(), None, b""], [None] * 3)
    assert (held.offsets.tolist(), held.timestamps.tolist()) == ([3, 5, 8], [1_003, 1_005, 1_008])


def test_dead_letter() -> None:
    letter = decode_dead_letter(v1("dead_letter"))
    assert letter == msgspec.structs.replace(dead_letter("telemetry", 1, 2, 3, "malformed", "why", b"{"), v=1)
    assert letter.index is None


def test_scores() -> None:
    scores = decode_scores(v1("scores"))
    assert (scores.first, scores.last, scores.prev) == (10, 11, -1)
    assert (scores.v, scores.before, scores.end, scores.column("index").tolist()) == (1, BEFORE_ALL, (11, 0), [0, 0])
    assert scores.provenance.schema == ""
    assert (scores.provenance.deployment, scores.provenance.partition, scores.provenance.epoch) == ("detect", 2, 0)
    rows = list(scores.rows())
    assert [(row["offset"], row["device"], row["role"], row["threshold"]) for row in rows[:2]] == [
        (10, "pump-1", "champion", 2.5),
        (11, "pump-2", "champion", 2.5),
    ]
    assert {row["time"] for row in rows} == {1_000_000}
    assert np.isfinite([row["score"] for row in rows]).all()
    assert all(row["warming"] for row in rows)


def test_shard_snapshot() -> None:
    """Where models are fitted with other bits the plan has another digest: what is read is put under today's."""
    made = running(PLAN, partition=2)
    head, table, held = msgspec.msgpack.decode(v1("shard"))
    head = msgspec.msgpack.encode({**msgspec.msgpack.decode(head), "plan": PLAN.digest})
    made.shard.restore(msgspec.msgpack.encode((head, table, held)))
    assert (made.shard.head.last, made.shard.head.epoch, made.shard.head.v) == (13, 0, 4)
    assert made.shard.head.chains == {"pumps": Chain(Position(11, 0), BEFORE_ALL)}
    assert made.shard.waiting
    assert made.shard.tables is not None
    assert made.shard.tables["pumps"].devices == ["pump-1", "pump-2"]
    assert [len(raw) for raw in made.shard.holding.frames] == [2]
    assert made.shard.head.ledger


if __name__ == "__main__":
    write_missing(FOLDER, examples())
