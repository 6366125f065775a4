"""An extractor of one's own on a real Flink: its code travels with the job, and what comes out is what its author computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models.schema import encoder
from swapstream.operators.code import read
from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.trials import Record, run
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts import kafka
from tests.examples.later.vibration import Spectrum as Later
from tests.examples.vibration import Spectrum

from . import offline
from .support import EPOCH_MS, Place, Stand, demo_schema, readings, send

pytestmark = [pytest.mark.cluster, pytest.mark.long]

CODE = {1: Path("tests/examples/vibration.py"), 2: Path("tests/examples/later/vibration.py")}
ROOT = Path(__file__).parents[2]
DEVICES, ROWS, HALFLIFE = 5, 1_000, 4.0
PATH, SCHEMA = demo_schema()
FIELDS = tuple(SCHEMA.names)
OWN: dict[int, Extractor] = {1: Spectrum(periods=(4.0, 10.0), halflife=HALFLIFE), 2: Later(periods=(4.0, 10.0), halflife=HALFLIFE)}


class Author(Stand):
    """A deployment whose plans name code that lies beside them; version 2 of it is another file of the same name."""

    def plan_of(self, version: int) -> Path:
        """A plan file, and a model that was trained with its code."""
        folder = self.directory / f"version-{version}"
        folder.mkdir()
        shutil.copy(ROOT / CODE[version], folder)
        content: dict[str, Any] = {
            "name": self.name, "schema": str(PATH), "code": ["vibration.py"], "decoy": True,
            "extractor": ["identity", {"vibration:Spectrum": {"periods": [4, 10], "halflife": HALFLIFE}}],
        }  # fmt: skip
        path = folder / "plan.yaml"
        path.write_bytes(msgspec.yaml.encode(content))
        lines = [f"pump-{n % DEVICES},{EPOCH_MS + n}," + ",".join(map(repr, row)) for n, row in enumerate(values(1).tolist())]
        (folder / "training.csv").write_text("\n".join([",".join(["device", "time", *FIELDS]), *lines]))
        self.run("train", "zscore", folder / "training.csv", "--plan", path, "--name", self.name, "--version", str(version),
                 "--hold-out", "0")  # fmt: skip
        path.write_bytes(msgspec.yaml.encode(content | {"champion": f"{self.name}:{version}"}))
        return path

    def archived(self) -> list[ScoresFrame]:
        found = kafka.read_to_end(self.environment, self.environment.topics.features.name)
        return [decode_scores(record.value or b"") for record in found]


class Life:
    """What was sent, and what came out: the first version until a savepoint upgrade, the second after it."""

    def __init__(self, author: Author) -> None:
        self.author, self.plans = author, {version: author.plan_of(version) for version in CODE}
        author.run("submit", "detect", "--plan", self.plans[1])
        send(author, messages(2))
        author.settle()
        self.refused = [json.loads(line) for line in author.run("swap", "--plan", self.plans[2], "--json", code=5).splitlines()]
        author.run("upgrade", author.name, "--mode", "savepoint", "--plan", self.plans[2])
        send(author, messages(3))
        author.settle()
        self.sent = readings(author.telemetry())
        self.scores = {(row["partition"], row["offset"]): row for frame in author.frames() for row in frame.rows()}
        self.archived = author.archived()


@pytest.fixture(scope="module")
def life(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    author = Author(cluster, tmp_path_factory.mktemp("author"), "author")
    yield Life(author)
    author.cancel()


def values(seed: int) -> np.ndarray:
    swing = np.sin(np.arange(ROWS)[:, None] / DEVICES * 2 * np.pi / 10)
    found: np.ndarray = swing + np.random.default_rng(seed).normal(size=(ROWS, len(FIELDS)))
    return found


def messages(seed: int) -> list[tuple[bytes, bytes]]:
    encode, found = encoder(SCHEMA), []
    for n, row in enumerate(values(seed).tolist()):
        name = f"pump-{n % DEVICES}"
        found.append((name.encode(), encode(name, EPOCH_MS + n, row)))
    return found


def composite(version: int) -> Composite:
    """As the author's own test would make it: the class imported as Python does."""
    return Composite([*(one.extractor for one in Composite.parse(["identity"], FIELDS).members), OWN[version]], FIELDS)


def computed(life: Life) -> dict[Place, np.ndarray]:
    """Features of every reading, shard by shard; the second version takes over the state of the first."""
    found: dict[Place, np.ndarray] = {}
    for partition in {place[0] for place in life.sent}:
        places = sorted(place for place in life.sent if place[0] == partition)
        records = [record_of(life.sent[place].value or b"", life.sent[place].timestamp) for place in places]
        first = [place for place in places if life.scores[place]["epoch"] == 0]
        tables = composite(1).table()
        before = run(composite(1), records[: len(first)], [], tables)
        after = run(composite(2), records[len(first) :], [], composite(2).restore({"base": tables.snapshot()}))
        found |= dict(zip(places, np.concatenate([before.features, after.features]), strict=True))
    return found


def record_of(value: bytes, logged: int) -> Record:
    message = msgspec.msgpack.decode(value)
    return Record(message["device"], tuple(message["values"]), message["time"] * 1000, logged)


def test_features_are_those_that_the_author_computes_bit_by_bit(life: Life) -> None:
    wanted, seen = computed(life), 0
    for frame in life.archived:
        version = 1 if frame.provenance.epoch == 0 else 2
        assert tuple(frame.feature_names) == composite(version).features
        features = np.frombuffer(frame.features, "<f8").reshape(-1, len(frame.feature_names))
        for offset, row in zip(frame.column("offsets").tolist(), features, strict=True):
            assert row.tobytes() == wanted[frame.provenance.partition, offset].tobytes()
            seen += 1
    assert seen == len(life.sent) == 2 * ROWS


def test_scores_are_those_of_its_features(life: Life) -> None:
    features = computed(life)
    for version in CODE:
        training = run(composite(version), [Record(f"pump-{n % DEVICES}", tuple(row), (EPOCH_MS + n) * 1000, n)
                                            for n, row in enumerate(values(1).tolist())], [])  # fmt: skip
        places = [place for place, row in life.scores.items() if row["model"] == f"author:{version}"]
        wanted = offline.zscore(training.features[~training.warming], np.array([features[place] for place in places]))
        np.testing.assert_allclose([life.scores[place]["score"] for place in places], wanted, rtol=1e-9)
        assert len(places) == ROWS


def test_the_code_is_in_the_provenance_of_every_score(life: Life) -> None:
    found = {frame.provenance.extractor for frame in life.author.frames()}
    assert {ref.rpartition(":")[0] for ref in found} == {"identity+spectrum:1.1", "identity+spectrum:1.2"}
    plans = life.author.rows("plan", "show", life.plans[1])
    assert read(ROOT / CODE[1]).digest in str(plans)


def test_code_that_was_not_sent_along_is_refused_by_every_shard(life: Life) -> None:
    digest = read(ROOT / CODE[2]).digest[:12]
    assert {row["prepared"] for row in life.refused} == {"refused"}
    assert all(f"code {digest}…: is not here; a job runs code that it was submitted with" in row["reason"] for row in life.refused)


def test_verify_finds_the_code_and_no_divergence(life: Life) -> None:
    rows = life.author.rows("verify", "--deployment", life.author.name)
    assert sum(row["records"] for row in rows) >= 2 * ROWS
    assert [row["first"] for row in rows if row["first"]] == []
