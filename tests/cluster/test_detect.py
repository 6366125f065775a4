"""The detect job on a real broker and a real Flink: one run with faults in its input and a swap while records flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import TopicPartition

from swapstream.models.schema import encoder
from swapstream.operators.scores import ScoresFrame
from swapstream.operators.signing import Signer
from swapstream.operators.token import FIRST_BYTE, Token
from swapstream.scripts import kafka
from swapstream.scripts.topics import admin

from . import offline
from .demo import FEATURES, PATH, SCHEMA
from .support import EPOCH_MS, Place, Stand, flowing, places, readings, send, send_to, wait_until

pytestmark = pytest.mark.cluster

HALFLIFE = 5.0
COMPONENTS = 6
EXTRACTOR: list[Any] = ["identity", {"ewm": {"halflife": HALFLIFE}}]
DEVICES = 40
RATE = 1000
WIDTH = len(SCHEMA.names)

BAD = {
    b"\x83\xa6devi": "malformed",
    b"no map": "invalid",
    b"": "empty",
    msgspec.msgpack.encode({"device": "pump-1", "time": EPOCH_MS, "values": [1.0] * (WIDTH - 1)}): "invalid",
    msgspec.msgpack.encode({"device": "pump-1", "time": EPOCH_MS, "values": [1.0] * (WIDTH - 1) + ["1"]}): "invalid",
    msgspec.msgpack.encode({"device": "pump-1", "time": EPOCH_MS, "values": [1.0] * (WIDTH - 1) + [float("nan")]}): "not_finite",
    msgspec.msgpack.encode({"device": "", "time": EPOCH_MS, "values": [1.0] * WIDTH}): "device",
    msgspec.msgpack.encode({"device": "pump-1", "time": -1, "values": [1.0] * WIDTH}): "time",
}
FORGED = {FIRST_BYTE: "token", FIRST_BYTE + b"forged": "token"}


def values(rows: int, seed: int) -> np.ndarray:
    """Readings like those of training, with something odd every now and then."""
    found = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    found[::97, seed % WIDTH] += 8
    return found


def messages(rows: int, seed: int) -> list[tuple[bytes, bytes]]:
    """Readings of all devices in turn, and between them what can't be read."""
    encode, bad = encoder(SCHEMA), list(BAD)
    found = []
    for number, row in enumerate(values(rows, seed).tolist()):
        device = f"pump-{number % DEVICES}"
        good = encode(device, EPOCH_MS + number, row)
        found.append((device.encode(), bad[number // 50 % len(bad)] if number % 50 == 7 else good))
    return found


class Run:
    """What was sent, and what came out."""

    def __init__(self, stand: Stand, training: np.ndarray, plans: tuple[Path, Path]) -> None:
        self.stand, self.training, self.plans = stand, training, plans
        self.others: list[Place] = []
        self.cuts: list[dict[str, Any]] = []

    def collect(self) -> None:
        self.answers = self.stand.settle()
        self.telemetry = self.stand.telemetry()
        self.frames = self.stand.frames()
        self.rows = {(row["partition"], row["offset"]): row for frame in self.frames for row in frame.rows()}
        self.letters = {(letter.partition, letter.offset): letter for letter in self.stand.dead_letters()}

    @property
    def cut(self) -> dict[int, int]:
        return {row["partition"]: row["cut_offset"] for row in self.cuts}

    def version(self, place: Place) -> int:
        """What the cut implies."""
        return 2 if place[1] > self.cut[place[0]] else 1


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stand = Stand(cluster, tmp_path_factory.mktemp("detect"), "detect")
    training, _ = offline.features([(f"pump-{n % DEVICES}", row) for n, row in enumerate(values(4000, 1).tolist())], HALFLIFE)
    first = stand.train("zscore", 1, training, FEATURES)
    second = stand.train("pca", 2, training, FEATURES, components=COMPONENTS)
    found = Run(stand, training, (stand.plan("first", PATH, EXTRACTOR, first), stand.plan("second", PATH, EXTRACTOR, second)))
    send(stand, messages(2000, 2))
    stand.run("submit", "detect", "--plan", found.plans[0])
    with flowing(stand, (message for seed in count(3) for message in messages(4000, seed)), RATE) as enough:
        wait_until(lambda: len(stand.frames()) > 20, 60, "records are scored")
        found.others += interlopers(stand)
        found.cuts = stand.rows("swap", "--plan", found.plans[1])
        enough.wait(4000 / RATE)
        enough.set()
    found.collect()
    yield found
    stand.cancel()


def interlopers(stand: Stand) -> list[Place]:
    """Tokens for another deployment and for another partition, two that nobody trusted has signed, and bytes that only start as one."""
    token = Token("swap", "prod", "another", 1, "0" * 64, stand.environment.topics.telemetry.name, 0, 0, "test", 0, "")
    ours = msgspec.structs.replace(token, deployment=stand.name)
    forged = msgspec.structs.replace(ours, partition=2, epoch=9)
    for payload in FORGED:
        send_to(stand, 1, payload)
    return [send_to(stand, 0, token.encode()), send_to(stand, 3, ours.encode()),
            send_to(stand, 2, forged.encode()), send_to(stand, 2, forged.encode(Signer.new()))]


def test_each_record_is_answered_once(run: Run) -> None:
    tokens = {place for place, record in run.telemetry.items() if (record.value or b"")[:1] == FIRST_BYTE and record.value not in FORGED}
    assert tokens > {*run.cut.items(), *run.others}, "the others asked whether the shards are prepared"
    assert run.answers == Counter(run.telemetry.keys() - tokens)
    assert len(run.rows) > 5_000


def test_dead_letters_say_why_and_keep_the_bytes(run: Run) -> None:
    reasons = BAD | FORGED
    wanted = {place: r.value for place, r in run.telemetry.items() if r.value in reasons}
    assert {letter.reason for letter in run.letters.values()} == set(reasons.values())
    assert {place: letter.payload for place, letter in run.letters.items()} == wanted
    for place, letter in run.letters.items():
        assert letter.reason == reasons[letter.payload or b""]
        assert letter.timestamp == run.telemetry[place].timestamp


def test_frames_are_chained(run: Run) -> None:
    check_chain(run.frames)


def check_chain(frames: list[ScoresFrame]) -> None:
    """In each partition `prev` is the last offset of the frame before, -1 in the first."""
    last: dict[int, int] = {}
    for frame in frames:
        partition, offsets = frame.provenance.partition, frame.column("offsets")
        assert frame.prev == last.get(partition, -1)
        assert (frame.first, frame.last) == (offsets[0], offsets[-1])
        assert frame.prev < frame.first
        assert (np.diff(offsets) > 0).all()
        last[partition] = frame.last


def test_the_cut_decides_the_model(run: Run) -> None:
    assert sorted(run.cut) == [0, 1, 2, 3]
    assert {row["event"] for row in run.cuts} == {"activated"}
    for partition, offset in run.cut.items():
        assert (run.telemetry[partition, offset].value or b"").startswith(FIRST_BYTE)
    for place, row in run.rows.items():
        version = run.version(place)
        assert (row["model"], row["epoch"]) == (f"detect:{version}", version - 1), place
    assert set(Counter((row["partition"], row["model"]) for row in run.rows.values())) == {
        (partition, f"detect:{version}") for partition in range(4) for version in (1, 2)
    }


def test_only_its_own_tokens_move_a_shard(run: Run) -> None:
    """A token of another deployment leaves no trace; one in the wrong partition and forged ones are rejected on the ledger."""
    ledger = {(row["partition"], row["offset"]): row for row in run.stand.messages("ledger") if "partition" in row}
    elsewhere, misplaced, unsigned, unknown = run.others
    assert elsewhere not in ledger
    assert {ledger[place]["event"] for place in (misplaced, unsigned, unknown)} == {"rejected"}
    assert "signature: none" in ledger[unsigned]["reason"]
    assert "is not trusted in namespace 'prod'" in ledger[unknown]["reason"]
    assert {place for place, row in ledger.items() if row["event"] == "activated"} == set(run.cut.items())


def test_scores_are_those_of_scikit_learn(run: Run) -> None:
    for partition in range(4):
        inside = sorted(place for place in run.rows if place[0] == partition)
        sent = [msgspec.msgpack.decode(run.telemetry[place].value or b"") for place in inside]
        rows, warming = offline.features([(reading["device"], reading["values"]) for reading in sent], HALFLIFE)
        after = np.array([run.version(place) == 2 for place in inside])
        wanted = np.where(after, offline.pca(run.training, rows, COMPONENTS), offline.zscore(run.training, rows))
        found = [run.rows[place] for place in inside]
        np.testing.assert_allclose([row["score"] for row in found], wanted, rtol=1e-5)
        assert [row["warming"] for row in found] == warming.tolist()
        assert [(row["device"], row["time"]) for row in found] == [(r["device"], r["time"] * 1000) for r in sent]


def test_anomalies_are_what_lies_above_the_threshold(run: Run) -> None:
    found = {(row["partition"], row["offset"]): row for row in run.stand.messages("anomalies")}
    above = {place for place, row in run.rows.items() if row["score"] > row["threshold"] and not row["warming"]}
    assert len(above) > 50
    assert {row["model"] for row in found.values()} == {"detect:1", "detect:2"}
    assert found.keys() == above
    assert above == {place for place, row in run.rows.items() if row["anomalous"]}
    for place, anomaly in found.items():
        shared = ("device", "time", "score", "threshold", "model", "digest", "epoch", "plan_digest", "extractor")
        assert {key: anomaly[key] for key in shared} == {key: run.rows[place][key] for key in shared}
        sent = msgspec.msgpack.decode(run.telemetry[place].value or b"")
        assert anomaly["values"] == dict(zip(SCHEMA.names, sent["values"], strict=True))


def test_the_same_swap_again_changes_nothing(run: Run) -> None:
    again = run.stand.rows("swap", "--plan", run.plans[1])
    assert [(row["epoch"], row["partition"], row["cut_offset"]) for row in again] == [
        (row["epoch"], row["partition"], row["cut_offset"]) for row in run.cuts
    ]
    assert run.stand.telemetry().keys() == run.telemetry.keys()


def test_a_start_without_state_takes_plans_from_the_cut_maps(run: Run) -> None:
    """In two partitions the tokens are gone with all that lay before them. Comes last: it starts the job anew."""
    stand = run.stand
    stand.cancel()
    kept = {partition: run.cut[partition] + 100 if partition < 2 else 0 for partition in run.cut}
    forget(stand, kept)
    ends = stand.ends(stand.environment.topics.scores.name)
    stand.run("submit", "detect", "--plan", run.plans[0], "--start", "earliest")
    wanted = {place: row for place, row in run.rows.items() if place[1] >= kept[place[0]]}
    wait_until(lambda: {p for frame in stand.frames(ends) for p in places(frame)} >= wanted.keys(), 60, "all is scored again")
    frames = stand.frames(ends)
    check_chain(frames)
    found = {(row["partition"], row["offset"]): row for frame in frames for row in frame.rows()}
    assert found.keys() == wanted.keys()
    for place, row in found.items():
        if place[0] < 2:
            assert (row["model"], row["epoch"]) == ("detect:2", 1)
        else:
            assert row == wanted[place], "scores don't depend on how records were cut into frames, bit for bit"


def forget(stand: Stand, before: dict[int, int]) -> None:
    """Delete telemetry below an offset, as retention does."""
    topic = stand.environment.topics.telemetry.name
    with admin(stand.environment) as client:
        client.delete_records({TopicPartition(topic, partition): offset for partition, offset in before.items() if offset})
    first = dict.fromkeys(readings(stand.telemetry()))
    assert all(offset >= before[partition] for partition, offset in first)
    assert kafka.partition_count(stand.environment, topic) == len(before)
