"""Bytes of version 4, as they were once written: every later release reads them (C8).

Made by `python -m tests.unit.operators.test_v4`, once for each format; a file that is there is never written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.operators.cut import Cut
from swapstream.operators.outputs import Chain
from swapstream.operators.scores import Position
from swapstream.operators.snapshots import decode_part
from swapstream.operators.token import Token
from tests.support.first_written import write_missing
from tests.support.jobs import BLUE, GREEN, Job, green_of, handover
from tests.support.shards import EWM, deployable, frame, parameters_of, reading

FOLDER = Path(__file__).parent / "v4"
OLD, NEW = deployable("before", extractor=EWM), deployable("behind", extractor=(*EWM, "differences"))
PUMPS = [reading("pump-1"), reading("pump-2")]


def v4(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


def jobs() -> tuple[Job, Job]:
    """A job, and one that was forked from it and is mute."""
    blue = Job(parameters_of(OLD, NEW), OLD.digest, BLUE, partition=2, partitions=4)
    blue.take(frame(PUMPS, first=10, partition=2))
    green = green_of(blue, NEW.digest, snapshot_every_ms=1_000_000)
    green.take(frame(PUMPS, first=12, partition=2))
    return blue, green


def retired() -> Job:
    blue, _ = jobs()
    blue.take(frame([handover(NEW.digest, blue.parameters.end, partition=2)], first=14, partition=2))
    return blue


def stored(job: Job) -> bytes:
    """What Flink keeps for a shard."""
    return msgspec.msgpack.encode([job.state.head, job.state.table, job.state.held])


def part() -> bytes:
    _, green = jobs()
    return next(one.value for one in green.out if one.role == "snapshots")


EXAMPLES: dict[str, Callable[[], bytes]] = {
    "mute": lambda: stored(jobs()[1]),
    "retired": lambda: stored(retired()),
    "cut": Cut("prod", "detect", 7, NEW.digest, "telemetry", {0: 5, 1: 9}, predecessor=BLUE, successor=GREEN).encode,
    "token": lambda: handover(NEW.digest, 4, epoch=7),
    "snapshot": part,
}


@pytest.mark.parametrize(("name", "duty", "generation"), [("mute", "mute", GREEN), ("retired", "retired", BLUE)])
def test_state(name: str, duty: str, generation: int) -> None:
    """Under plans of today, whose digests may be others."""
    blue, green = jobs()
    made: Any = (green if name == "mute" else blue).restarted(Job(blue.parameters, OLD.digest, BLUE).state)
    head, table, held = msgspec.msgpack.decode(v4(name))
    head = msgspec.msgpack.encode({**msgspec.msgpack.decode(head), "plan": (NEW if name == "mute" else OLD).digest})
    made.shard.restore_parts(head, table, held)
    found = made.shard.head
    assert (found.duty, found.generation, found.last) == (duty, generation, 13 if name == "mute" else 14)
    last = 13 if name == "mute" else 11
    assert found.chains == {"pumps": Chain(features=Position(last, 0))}
    assert made.shard.tables["pumps"].devices == ["pump-1", "pump-2"]


def test_cut() -> None:
    cut = Cut.decode(v4("cut"))
    assert (cut.handover, cut.predecessor, cut.successor, cut.offsets) == (True, BLUE, GREEN, {0: 5, 1: 9})
    assert cut.encode() == v4("cut")


def test_token() -> None:
    token = Token.decode(v4("token"))
    assert (token.kind, token.generation, token.predecessor, token.epoch) == ("handover", GREEN, BLUE, 7)
    assert token.encode() == v4("token")


def test_snapshot() -> None:
    about = decode_part(v4("snapshot"))
    assert (about.why, about.generation, about.offset) == ("fork", GREEN, 11)


if __name__ == "__main__":
    write_missing(FOLDER, EXAMPLES)
