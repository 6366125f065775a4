"""Bytes of version 3, as they were once written: every later release reads them (C8).

Made by `python -m tests.unit.operators.test_v3`, once for each format; a file that is there is never written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from swapstream.operators.outputs import Chain
from swapstream.operators.plan import Plan, Require
from swapstream.operators.scores import Position
from swapstream.operators.shard_state import Pending
from swapstream.operators.update import Update
from tests.support.first_written import write_missing
from tests.support.shards import EWM, Stored, Worker, deployable, frame, reading, route, running, token

FOLDER = Path(__file__).parent / "v3"
PLAN = deployable(
    "tagged",
    tags={"critical": ("pump-7", "pump-9*"), "idle": ("pump-0",)},
    routes=(route(tag="critical", champion="a:2", on_error="a:1", threshold=4.5),),
    champion="a:1",
    on_error="b:1",
    require=Require(0.5, 0.01, 2.0),
)
FIRST, CARRIED = deployable("first", extractor=EWM), deployable("carried", extractor=EWM, champion="c:1")
LATE = 1_000


def v3(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


def lived() -> Worker:
    """A shard under a plan that an update carried; it has given up an epoch, has a prepare token to answer, and holds two records."""
    made = running(FIRST, partition=2)
    end, update = made.parameters.end, Update(CARRIED.plan.encode(), [one.encode() for one in CARRIED.models])
    payloads = [
        reading("pump-1"),
        token(3, CARRIED.digest, end, 2, kind="update", body=update.encode()),
        reading("pump-2"),
        token(9, FIRST.digest, LATE, 2, kind="prepare"),
        token(5, FIRST.digest, LATE, 2),
        reading("pump-3"),
    ]
    made.shard.on_frame(frame(payloads[:2], first=10, partition=2))
    made.shard.aborted = 4
    made.shard.on_frame(frame(payloads[2:], first=12, partition=2))
    return made


def stored() -> bytes:
    """What Flink keeps for a shard."""
    state = Stored()
    state.write(lived().shard.changes())
    return msgspec.msgpack.encode([state.head, state.table, state.held])


EXAMPLES: dict[str, Callable[[], bytes]] = {
    "plan": PLAN.plan.encode,
    "shard": lambda: lived().shard.snapshot(),
    "stored": stored,
}


def test_plan() -> None:
    plan = Plan.decode(v3("plan"))
    critical, rest = plan.routes
    assert (critical.tag, critical.on_error and critical.on_error.name, critical.threshold) == ("critical", "a:1", 4.5)
    assert [(role, pin.name) for role, pin in rest.roles()] == [("champion", "a:1"), ("on_error", "b:1")]
    assert plan.tags == {"critical": ("pump-7", "pump-9*"), "idle": ("pump-0",)}
    assert plan.require == Require(0.5, 0.01, 2.0)
    assert plan.encode() == v3("plan")


@pytest.mark.parametrize("name", ["shard", "stored"])
def test_state(name: str) -> None:
    made = running(FIRST, partition=2)
    if name == "shard":
        made.shard.restore(v3(name))
    else:
        made.shard.restore_parts(*msgspec.msgpack.decode(v3(name)))
    head, carried = made.shard.head, Update.decode(made.shard.head.carried)
    assert (head.last, head.epoch, head.floor, head.aborted, bool(head.ledger)) == (15, 3, 2, 4, True)
    assert Plan.decode(carried.plan).digest == head.plan
    assert head.chains == {"pumps": Chain(Position(12, 0), Position(10, 0))}
    (pending,) = head.preparing
    assert (pending.offset, pending.time) == (13, 1_013)
    assert pending == Pending(token(9, FIRST.digest, LATE, 2, kind="prepare"), 13, 1_013)
    assert made.shard.holding.token == 14
    assert made.shard.waiting
    assert made.shard.tables is not None
    assert made.shard.tables["pumps"].devices == ["pump-1", "pump-2"]


if __name__ == "__main__":
    write_missing(FOLDER, EXAMPLES)
