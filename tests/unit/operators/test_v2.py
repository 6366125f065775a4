"""Bytes of version 2, as they were once written: every later release reads them (C8).

Made by `python -m tests.unit.operators.test_v2`, once for each format; a file that is there is never written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from swapstream.operators.anomalies import Anomaly
from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.outputs import Chain, Emission
from swapstream.operators.plan import Plan
from swapstream.operators.plan_file import DevicesFile
from swapstream.operators.retention import Retention
from swapstream.operators.scores import BEFORE_ALL, Position, decode_scores
from tests.support.first_written import write_missing
from tests.support.shards import EWM, Stored, Worker, belt, deployable, fan, frame, reading, route, running, token

FOLDER = Path(__file__).parent / "v2"
PLAN = deployable(
    "machines",
    schema=("pumps", "fans", "belts"),
    extractor={"pumps": EWM, "fans": ("identity",), "belts": ({"lags": {"steps": [1, 2]}}, "identity")},
    of={"f:1": "fans", "b:1": "belts"},
    routes=(route("fan-*", type="fans", champion="f:1", threshold=-1.0), route(type="belts", champion="b:1")),
    devices=DevicesFile(500, "12h"),
)


def v2(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


def lived() -> tuple[Worker, list[Emission]]:
    """A shard that has read messages of three schemas, one with a bad reading, and holds two."""
    made = running(PLAN, partition=2)
    payloads = [
        reading("pump-1", (1.0, 2.0)),
        fan("fan-1", 3.0),
        belt(["belt-1", "belt-2", "belt-1"], [[1.0, 2.0], [float("nan"), 0.0], [3.0, 4.0]]),
        token(1, PLAN.digest, 99, 2),
        reading(),
    ]
    return made, made.shard.on_frame(frame(payloads, first=10, partition=2))


def sent(role: str, place: int = 0) -> bytes:
    return [emission.value for emission in lived()[1] if emission.role == role][place]


def stored() -> bytes:
    """What Flink keeps for a shard."""
    state = Stored()
    state.write(lived()[0].shard.changes())
    return msgspec.msgpack.encode([state.head, state.table, state.held])


EXAMPLES: dict[str, Callable[[], bytes]] = {
    "plan": PLAN.plan.encode,
    "scores": lambda: sent("scores", 1),
    "features": lambda: sent("features"),
    "anomaly": lambda: sent("anomalies"),
    "dead_letter": lambda: sent("dead_letters"),
    "shard": lambda: lived()[0].shard.snapshot(),
    "stored": stored,
}


def test_plan() -> None:
    plan = Plan.decode(v2("plan"))
    assert [(part.schema.name, len(part.extractor)) for part in plan.inputs] == [("pumps", 1), ("fans", 1), ("belts", 2)]
    assert [(one.devices, one.type, one.threshold) for one in plan.routes] == [("fan-*", "fans", -1.0), ("*", "belts", None)]
    assert plan.devices == Retention(500, 12 * 3_600_000)
    assert plan.encode() == v2("plan")


def test_scores() -> None:
    found = decode_scores(v2("scores"))
    assert (found.provenance.schema, found.before, found.end) == ("belts", BEFORE_ALL, Position(12, 2))
    assert (found.column("offsets").tolist(), found.column("index").tolist()) == ([12, 12], [0, 2])
    assert [(row["device"], row["index"], row["model"]) for row in found.rows()] == [("belt-1", 0, "b:1"), ("belt-1", 2, "b:1")]


def test_features() -> None:
    found = decode_scores(v2("features"))
    assert (found.provenance.schema, found.roles, found.column("index").tolist()) == ("pumps", [], [0])
    assert len(found.features) == 8 * len(found.feature_names)


def test_anomaly() -> None:
    found = msgspec.json.decode(v2("anomaly"), type=Anomaly)
    assert (found.schema, found.device, found.offset, found.index, found.values) == ("fans", "fan-1", 11, 0, {"speed": 3.0})


def test_dead_letter() -> None:
    letter = decode_dead_letter(v2("dead_letter"))
    assert (letter.offset, letter.index, letter.reason, letter.timestamp) == (12, 1, "not_finite", 1_012)
    assert letter.payload is not None
    assert len(letter.payload) == letter.size


@pytest.mark.parametrize("name", ["shard", "stored"])
def test_state(name: str) -> None:
    """Where models are fitted with other bits the plan has another digest: what is read is put under today's."""
    made = running(PLAN, partition=2)
    head, table, held = msgspec.msgpack.decode(v2(name))
    head = msgspec.msgpack.encode({**msgspec.msgpack.decode(head), "plan": PLAN.digest})
    if name == "shard":
        made.shard.restore(msgspec.msgpack.encode((head, table, held)))
    else:
        made.shard.restore_parts(head, table, held)
    assert (made.shard.head.last, made.shard.head.epoch) == (14, 0)
    assert made.shard.head.chains == {
        "pumps": Chain(BEFORE_ALL, Position(10, 0)),
        "fans": Chain(Position(11, 0), BEFORE_ALL),
        "belts": Chain(Position(12, 2), BEFORE_ALL),
    }
    assert made.shard.waiting
    assert made.shard.tables is not None
    assert {name: made.shard.tables[name].devices for name in ("pumps", "fans", "belts")} == {
        "pumps": ["pump-1"], "fans": [], "belts": ["belt-1"]}
    today = lived()[0].shard
    made.shard.reporter.restore(today.head.ledger)  # of a row that says more today
    assert made.shard.snapshot() == today.snapshot()


if __name__ == "__main__":
    write_missing(FOLDER, EXAMPLES)
