"""Telemetry of several types, single and columnar, and whatever can be wrong with it, through the real job."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models.schema import Schema, encoder, frame_encoder, load_schema
from swapstream.operators.dead_letters import DeadLetter, decode_dead_letter
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.flink_rest import FlinkRest

from .support import CHECKPOINT_MS, Stand, places, readings, send, wait_until

pytestmark = pytest.mark.cluster

NOW = time.time_ns() // 1_000_000
YEAR = 366 * 86_400_000
SCHEMAS: dict[str, dict[str, Any]] = {
    "pumps": {"fields": ["temperature", "pressure"]},
    "fans": {"fields": ["speed"], "layout": "named", "device": ["meta", "id"], "type_key": "kind", "type": "fan"},
    "belts": {"fields": ["temperature", "pressure"], "layout": "columnar", "type_key": "kind", "type": "belt"},
}
ROUTES = [{"type": "fans"}, {"devices": "*", "type": "belts", "champion": "telemetry:1"}]
DEVICES = 20


def pump(**changes: Any) -> bytes:
    return msgspec.msgpack.encode({"device": "p-1", "time": NOW, "values": [1.0, 2.0]} | changes)


WELL_FORMED_AND_ODD = [
    pump(more={"deep": [1, {"x": None}]}),
    b"\x84" + pump()[1:] + msgspec.msgpack.encode("values") + msgspec.msgpack.encode([3.0, 4.0]),
    pump(time=NOW - 5_000), pump(time=NOW - 9_000), pump(time=NOW - 9_000),
    pump(time=1), pump(values=[2**64 - 1, -5]),
]
BAD: list[tuple[bytes | None, str]] = [
    (None, "empty"),
    (b"", "empty"),
    (pump()[:-1], "malformed"),
    (pump() + b"\x00", "malformed"),
    (pump().replace(b"\xa3p-1", b"\xa3p-\xff"), "malformed"),
    (b"\x84\xa1x" + b"\x91" * 10_000 + b"\xc0" + pump()[1:], "malformed"),
    (b"\x81\xa1x\xdd\xff\xff\xff\xff", "malformed"),
    (b"\x81\xa6values\xdd\xff\xff\xff\xff", "malformed"),
    (pump(values=[1.0, True]), "invalid"),
    (pump(values=[1.0, "2"]), "invalid"),
    (pump(values=[1.0]), "invalid"),
    (msgspec.msgpack.encode({"device": "p-1", "time": NOW}), "invalid"),
    (msgspec.msgpack.encode({"time": NOW, "values": [1.0, 2.0]}), "invalid"),
    (pump(device="d" * 2**20), "device"),
    (pump(device=""), "device"),
    (pump(time=NOW + 10 * YEAR), "time"),
    (pump(time=-1), "time"),
    (pump(time=2**64 - 1), "time"),
    (pump(time=NOW * 1_000), "time"),
    (pump(values=[math.nan, 1.0]), "not_finite"),
    (pump(values=[1.0, -math.inf]), "not_finite"),
    (pump(kind="valve"), "schema"),
    (b"\xc0" * 10 * 2**20, "invalid"),
]


class Run:
    """What was sent, and what came out."""

    def __init__(self, stand: Stand, schemas: dict[str, Schema]) -> None:
        self.stand, self.schemas = stand, schemas
        self.belts: list[np.ndarray] = []
        self.restarts = -1

    def good(self, rows: int, seed: int) -> list[tuple[bytes, bytes]]:
        """Readings of every type; now and then one of a belt's is not finite."""
        rng = np.random.default_rng(seed)
        fan, belt = encoder(self.schemas["fans"]), frame_encoder(self.schemas["belts"])
        found = []
        for number in range(rows):
            name, values = f"{number % DEVICES}", rng.normal(size=(7, 2))
            found.append((f"p-{name}".encode(), pump(device=f"p-{name}", values=values[0].tolist())))
            found.append((f"f-{name}".encode(), fan(f"f-{name}", NOW, values[0, :1].tolist())))
            values[number % 7, 1] = math.nan if number % 10 == 0 else 0.0
            self.belts.append(values)
            found.append((f"b-{name}".encode(), belt(f"b-{name}", NOW + np.arange(7), values)))
        return found

    def frames(self, topic: str) -> list[ScoresFrame]:
        return [decode_scores(record.value or b"") for record in self._read(topic)]

    def letters(self) -> list[DeadLetter]:
        return [decode_dead_letter(record.value or b"") for record in self._read("dead_letters")]

    def _read(self, topic: str) -> Iterator[kafka.Record]:
        return kafka.read_to_end(self.stand.environment, self.stand.environment.topics.by_role()[topic].name)

    def answers(self) -> Counter[tuple[int, int, int | None]]:
        """How often each reading is answered, and each message that can't be read."""
        found = Counter((letter.partition, letter.offset, letter.index) for letter in self.letters())
        for frame in self.frames("scores") + self.frames("features"):
            found.update((frame.provenance.partition, offset, index) for offset, index in zip(
                frame.column("offsets").tolist(), frame.column("index").tolist(), strict=True))
        return found

    def settle(self) -> None:
        """Wait until every message is answered, and then for what would come twice."""
        wanted = set(readings(self.stand.telemetry()))
        wait_until(lambda: wanted <= {(partition, offset) for partition, offset, _ in self.answers()}, 90, "all is answered")
        time.sleep(2 * CHECKPOINT_MS / 1000)
        self.found, self.told = self.answers(), self.letters()
        self.telemetry = self.stand.telemetry()


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stand = Stand(cluster, tmp_path_factory.mktemp("telemetry"), "telemetry")
    paths = {name: stand.write(name, {"name": name, **content}) for name, content in SCHEMAS.items()}
    found = Run(stand, {name: load_schema(path) for name, path in paths.items()})
    model = stand.train("zscore", 1, np.random.default_rng(3).normal(size=(2_000, 2)), ("temperature", "pressure"))
    plan = {"name": stand.name, "champion": model}
    first = stand.write("first", plan | {"schema": str(paths["pumps"])})
    second = stand.write("second", plan | {"schema": [str(path) for path in paths.values()], "routes": ROUTES})
    [row] = stand.rows("submit", "detect", "--plan", first)
    try:
        send(stand, [(b"p-1", pump())] * 100 + [(b"f-1", encoder(found.schemas["fans"])("f-1", NOW, (1.0,)))] * 10)
        stand.run("swap", "--plan", second)
        messages = found.good(500, 5)
        for place, (bad, _) in enumerate(BAD):
            messages.insert(place * 50, (b"p-1", bad))  # type: ignore[arg-type]
        for place, odd in enumerate(WELL_FORMED_AND_ODD):
            messages.insert(place * 70 + 25, (b"p-1", odd))
        send(stand, messages)
        found.settle()
        found.restarts = FlinkRest(stand.environment.flink.url).restarts(row["job"])
        yield found
    finally:
        stand.cancel()


def test_each_reading_is_answered_once(run: Run) -> None:
    assert set(run.found.values()) == {1}
    wanted = 100 + 10 + len(BAD) + len(WELL_FORMED_AND_ODD) + 500 * (1 + 1 + 7)
    assert len(run.found) == wanted


def test_what_is_bad_has_its_reason_and_its_bytes(run: Run) -> None:
    told = Counter((run.telemetry[letter.partition, letter.offset].value, letter.reason) for letter in run.told)
    for payload, reason in BAD:
        assert told[payload, reason] >= 1, (reason, (payload or b"")[:40])
    for letter in run.told:
        value = run.telemetry[letter.partition, letter.offset].value or b""
        assert letter.payload == (value if len(value) <= 512 * 1024 else None)
        assert letter.size == len(value)


def test_a_new_schema_is_accepted_at_the_swap(run: Run) -> None:
    early = [letter for letter in run.told if letter.reason == "invalid" and letter.payload
             and b"fan" in letter.payload]
    assert len(early) == 10
    assert {(frame.provenance.schema, frame.provenance.epoch) for frame in run.frames("scores")} == {
        ("pumps", 0), ("pumps", 1), ("belts", 1)}
    assert {frame.provenance.schema for frame in run.frames("features")} == {"fans"}


def test_one_bad_reading_of_a_message_is_the_only_one(run: Run) -> None:
    lost = [letter for letter in run.told if letter.index is not None]
    assert len(lost) == 50
    assert {letter.reason for letter in lost} == {"not_finite"}


def test_nothing_else_is_lost(run: Run) -> None:
    assert len(run.told) == 10 + len(BAD) + 50
    scored = Counter(run.telemetry[place].value for frame in run.frames("scores") for place in places(frame))
    assert {odd: scored[odd] for odd in WELL_FORMED_AND_ODD} == Counter(WELL_FORMED_AND_ODD)


def test_the_job_never_restarted(run: Run) -> None:
    assert run.restarts == 0
