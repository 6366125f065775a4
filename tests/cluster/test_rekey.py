"""rekey: messages without keys, exactly once where their devices belong, whatever is killed; and detect runs over the result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from swapstream.jobs.partitioner import partition_of
from swapstream.jobs.spec import JobSpec
from swapstream.jobs.stateful import stateful_uids
from swapstream.models.schema import encoder
from swapstream.operators.chaining import Gap
from swapstream.operators.token import FIRST_BYTE, is_token
from swapstream.scripts import kafka
from swapstream.scripts.outputs import read_scores
from swapstream.scripts.topics import admin

from .killing import failed_commits, python_worker
from .support import CHECKPOINT_MS, Stand, demo_schema, wait_until
from .test_uids import uids_of

pytestmark = [pytest.mark.cluster, pytest.mark.long]

RATE = 2_000
SOURCES, TARGETS = 3, 4
DEVICES = 50
PATH, SCHEMA = demo_schema()
UIDS = [
    "output-sink",
    "telemetry-calc",
    "telemetry-calc-2",
    "telemetry-calc-3",
    "telemetry-constraintenforcer",
    "telemetry-correlate",
    "telemetry-pythoncalc",
    "telemetry-source",
]


class Raw:
    """A topic of messages without keys, and what was sent there: (partition, value, timestamp), a device's always to one partition."""

    def __init__(self, stand: Stand) -> None:
        self.stand, self.topic = stand, f"{stand.name}-raw"
        self.sent: list[tuple[int, bytes, int]] = []
        self._encode, self._rows = encoder(SCHEMA), np.random.default_rng(4).normal(size=(1_000, len(SCHEMA.names))).tolist()
        self._began = time.time_ns() // 1_000_000 - 600_000
        with admin(stand.environment) as client:
            client.create_topics({self.topic: {"num_partitions": SOURCES, "replication_factor": -1}})
            client.wait_for_topics([self.topic])

    def message(self, number: int) -> tuple[int, bytes, int]:
        """Every hundredth is none, every other hundredth a token."""
        device, when = number % DEVICES, self._began + number
        value = self._encode(f"pump-{device}", when, self._rows[number % 1_000])
        if number % 100 in (9, 59):
            value = {9: b"none %d" % number, 59: FIRST_BYTE + b"%d" % number}[number % 100]
        return device % SOURCES, value, when

    def send(self, count: int, rate: float = 1e9) -> None:
        client = kafka.producer(self.stand.environment)
        began = time.monotonic()
        for number in range(count):
            message = self.message(len(self.sent))
            partition, value, when = message
            client.send(self.topic, value=value, partition=partition, timestamp_ms=when)
            self.sent.append(message)
            if number % 100 == 0:
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
        client.flush()
        client.close()

    @property
    def good(self) -> list[tuple[bytes, int]]:
        return [(value, when) for _, value, when in self.sent if not value.startswith((b"none", FIRST_BYTE))]

    @property
    def bad(self) -> list[bytes]:
        return [value for _, value, _ in self.sent if value.startswith(b"none")]


def written(stand: Stand) -> list[kafka.Record]:
    """What a read_committed reader finds in telemetry but for tokens, in order within a partition."""
    found = kafka.read_to_end(stand.environment, stand.environment.topics.telemetry.name)
    return [record for record in found if not is_token(record.value)]


def device_of(value: bytes) -> str:
    return str(msgspec.msgpack.decode(value)["device"])


def all_there(stand: Stand, raw: Raw) -> bool:
    return len(written(stand)) >= len(raw.good) and len(stand.dead_letters()) >= len(raw.bad)


def check(stand: Stand, raw: Raw) -> None:
    """Everything is there once, in its place and in its device's order, with its own time."""
    wait_until(lambda: all_there(stand, raw), 120, "every message has been written")
    time.sleep(2 * CHECKPOINT_MS / 1000)
    records = written(stand)
    assert Counter((record.value, record.timestamp) for record in records) == Counter(raw.good)
    for record in records:
        assert record.key == device_of(record.value or b"").encode()
        assert record.partition == partition_of(record.key, TARGETS)
    wanted, found = by_device(value for value, _ in raw.good), by_device(record.value or b"" for record in records)
    assert found == wanted
    letters = stand.dead_letters()
    assert sorted(letter.payload or b"" for letter in letters) == sorted(raw.bad)
    places = [(letter.topic, letter.partition, letter.offset) for letter in letters]
    assert {topic for topic, _, _ in places} == {raw.topic}
    assert len(set(places)) == len(places)
    assert {letter.reason for letter in letters} == {"invalid"}
    assert failed_commits(stand) == []


def by_device(values: Iterator[bytes]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for value in values:
        found.setdefault(device_of(value), []).append(value)
    return found


@pytest.fixture(scope="module")
def stand(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return Stand(cluster, tmp_path_factory.mktemp("rekey"), "rekey")


@pytest.fixture(scope="module")
def raw(stand: Stand) -> Iterator[Raw]:
    """The job runs, and a worker was killed while messages came."""
    found = Raw(stand)
    stand.run("rekey", found.topic, "--schema", PATH)
    try:
        found.send(2 * RATE, RATE)
        wait_until(lambda: len(written(stand)) > RATE // 2, 60, "messages are written")
        process = python_worker(stand)
        process.kill()
        found.send(6 * RATE, RATE)
        assert not process.is_running()
        yield found
    finally:
        stand.run("cancel", f"rekey-{found.topic}")


def test_each_message_once_where_its_device_belongs_after_a_kill(stand: Stand, raw: Raw) -> None:
    check(stand, raw)


def test_status_tells_how_far_it_is(stand: Stand, raw: Raw) -> None:
    [found] = stand.rows("status")
    rows = [row for row in found["shards"] if row["deployment"] == f"prod.rekey-{raw.topic}"]
    assert [row["partition"] for row in rows] == list(range(SOURCES))
    wait_until(lambda: all(row["behind_records"] == 0 for row in stand.rows("status")[0]["shards"] if "rekey-raw" in row["deployment"]),
               20, "it has caught up")  # fmt: skip


def test_it_goes_on_where_it_was_cancelled(stand: Stand, raw: Raw) -> None:
    stand.run("cancel", f"rekey-{raw.topic}")
    raw.send(RATE)
    [row] = stand.rows("rekey", raw.topic, "--schema", PATH, "--to", stand.environment.topics.telemetry.name)
    assert row["restored"]
    raw.send(RATE)
    check(stand, raw)


def test_detect_runs_over_the_result(stand: Stand, raw: Raw) -> None:
    model = stand.train("zscore", 1, np.random.default_rng(1).normal(size=(2_000, len(SCHEMA.names))), SCHEMA.names)
    other = stand.train("zscore", 2, np.random.default_rng(2).normal(size=(2_000, len(SCHEMA.names))), SCHEMA.names)
    stand.run("submit", "detect", "--plan", stand.plan("plan", PATH, ["identity"], model), "--start", "earliest")
    try:
        stand.run("swap", "--plan", stand.plan("second", PATH, ["identity"], other))
        raw.send(RATE)
        check(stand, raw)
        places = {(record.partition, record.offset) for record in written(stand)}
        wait_until(lambda: sum(map(len, stand.frames())) >= len(places), 60, "every reading is scored")
        gaps: list[Gap] = []
        frames = list(read_scores(stand.environment, deployment=stand.name, on_gap=gaps.append))
        assert gaps == []
        assert Counter((one.provenance.partition, offset) for one in frames for offset in one.column("offsets").tolist()) == Counter(places)
        assert {one.provenance.epoch for one in frames} == {0, 1}
    finally:
        stand.cancel()


def test_what_can_not_be_done_is_refused_in_a_line(stand: Stand, raw: Raw) -> None:
    stand.run("rekey", "not-there", "--schema", PATH, code=3)
    stand.run("rekey", raw.topic, "--schema", "no-such-schema", code=3)
    stand.run("rekey", raw.topic, "--schema", PATH, "--to", raw.topic, code=2)
    stand.run("rekey", raw.topic, "--schema", PATH, code=4)


def test_rekeys_uids_never_change(tmp_path: Path) -> None:
    """Whatever its topics and its schemas are."""
    topics = {"telemetry": "raw", "rekeyed": "keyed", "dead_letters": "dead"}
    spec = JobSpec("rekey", "prod", "a", "", 0, "127.0.0.1:1", topics, 4, {0: 0, 1: 0}, schemas=(SCHEMA,))
    assert uids_of(spec, tmp_path) == UIDS
    assert stateful_uids(job="rekey") <= set(UIDS)
