"""Models of every sort, one after the other in one job: each score beside what ONNX Runtime or scikit-learn says of the reading.

Features are computed once more, record by record in plain Python; no model is asked through the code that the job scores with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from swapstream.models import pack, train
from swapstream.models.artifact import Artifact
from swapstream.models.schema import encoder
from swapstream.models.store import Store
from tests.unit.models.examples import SETTINGS
from tests.unit.models.graphs import F, T, convolution, dense, recurrent
from tests.unit.models.oracles import ORACLES, agree

from . import offline
from .demo import FEATURES, PATH, SCHEMA, smoothed
from .support import EPOCH_MS, Place, Stand, flowing, readings, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.long]

NAME, RATE, BEHIND_A_CUT = "held-out", 500, 400
HALFLIFE = 5.0
FIELDS = SCHEMA.names[:F]
EXTRACTORS: dict[str, list[Any]] = {"windows": [{"window": {"n": T, "fields": list(FIELDS)}}], "averages": smoothed(HALFLIFE)}
NAMES = {"windows": tuple(f"{field}[-{back}]" for back in reversed(range(T)) for field in FIELDS), "averages": FEATURES}
SHAPES = {"windows": (T, F), "averages": (len(FEATURES),)}
Reading = tuple[str, Sequence[float]]
"""A device and what it says."""


class Case(NamedTuple):
    """A model: where its features come from, how it is made, and its scores of rows; `like` says how near (see `agree`)."""

    extractor: str
    make: Callable[..., Artifact]
    wanted: Callable[[np.ndarray], np.ndarray]
    like: str = "onnx"


def telemetry(seed: int) -> Iterator[Reading]:
    """Readings without end, in bursts, of devices of which a few say much and many little. Exact as float32, as trees compare them."""
    rng = np.random.default_rng(seed)
    while True:
        device = f"pump-{rng.zipf(1.6) % 1000}"
        for values in rng.standard_t(5, size=(rng.integers(1, 9), len(SCHEMA.names))).astype(np.float32):
            yield device, values.tolist()


def windows(sent: Iterable[Reading]) -> tuple[np.ndarray, np.ndarray]:
    """Each reading behind those before it of its device, the first one in place of those that are missing; and whether any are."""
    devices: dict[str, list[Sequence[float]]] = {}
    rows, warming = [], []
    for device, values in sent:
        seen = devices.setdefault(device, [])
        seen.append(values[:F])
        rows.append(np.ravel([seen[0]] * (T - len(seen)) + seen[-T:]))
        warming.append(len(seen) < T)
    return np.array(rows), np.array(warming)


EXTRACTED = {"windows": windows, "averages": partial(offline.features, halflife=HALFLIFE)}


@cache
def training(extractor: str) -> np.ndarray:
    return EXTRACTED[extractor](islice(telemetry(0), 2000))[0]


def made(build: Callable[..., Artifact], model: Any, extractor: str, **options: Any) -> Callable[..., Artifact]:
    """By `train` or `pack`, once its name and version are told."""
    return partial(build, model, training(extractor).reshape(-1, *SHAPES[extractor]), NAMES[extractor], **options)


def graph(model: bytes, score: str, column: int | None = None) -> Case:
    """Over windows, asked by ONNX Runtime as anybody would."""
    def wanted(rows: np.ndarray) -> np.ndarray:
        given = rows.reshape(-1, T, F).astype(np.float32)
        (found,) = onnxruntime.InferenceSession(model).run(None, {"x": given})
        rebuilt = score == "reconstruction_error"
        return np.square(found.astype(float) - given).mean(axis=(1, 2)) if rebuilt else found[:, column or 0].astype(float)

    return Case("windows", made(pack, model, "windows", score=score, column=column), wanted)


def native(kind: str, extractor: str) -> Case:
    """A kind of our own, beside what scikit-learn makes of the same rows."""
    settings = SETTINGS.get(kind, {})
    return Case(extractor, made(train, kind, extractor, settings=settings), partial(ORACLES[kind], training(extractor)), kind)


def regressor(model: Any) -> Case:
    """Of the largest value of a window."""
    rows = training("windows")
    model.fit(rows, rows.max(axis=1))
    return Case("windows", made(pack, model, "windows", score="output"), model.predict)


def classifier(model: Any) -> Case:
    """Of readings whose temperature is the largest of their values."""
    rows = training("averages")
    model.fit(rows, rows[:, :len(SCHEMA.names)].argmax(axis=1) == 0)
    return Case("averages", made(pack, model, "averages", column=1), lambda fresh: model.predict_proba(fresh)[:, 1])


CASES: dict[str, Callable[[], Case]] = {
    "dense": lambda: graph(dense(), "reconstruction_error"),
    "convolutional": lambda: graph(convolution(), "reconstruction_error"),
    "isolation forest": lambda: native("isolation_forest", "averages"),
    "linear": lambda: native("linear", "averages"),
    "recurrent": lambda: graph(recurrent(), "output"),
    "recurrent, classes": lambda: graph(recurrent(classes=3), "output", column=2),
    "autoencoder": lambda: native("autoencoder", "windows"),
    "logistic": lambda: classifier(LogisticRegression(max_iter=1000)),
    "random forest": lambda: regressor(RandomForestRegressor(20, random_state=0)),
    "gradient boosting": lambda: regressor(GradientBoostingRegressor(n_estimators=30, random_state=0)),
}
"""In the order of their plans: extractors stay, change, and come back to what they knew."""


class Run:
    """What was sent, what came out, and what should have."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.cases = [make() for make in CASES.values()]
        self.cuts: list[dict[int, int]] = []

    def epoch(self, place: Place) -> int:
        """What the cuts imply."""
        return sum(cut[place[0]] < place[1] for cut in self.cuts)

    def collect(self) -> None:
        self.answers = self.stand.settle(120)
        self.sent = {place: msgspec.msgpack.decode(record.value or b"") for place, record in readings(self.stand.telemetry()).items()}
        self.rows = [row for frame in self.stand.frames() for row in frame.rows()]
        self.features: dict[Place, tuple[np.ndarray, bool]] = {}
        for extractor, features in EXTRACTED.items():
            # What an extractor remembers stays as it is while a plan with another one is in force.
            places = [place for place in sorted(self.sent) if self.cases[self.epoch(place)].extractor == extractor]
            found = features([(self.sent[place]["device"], self.sent[place]["values"]) for place in places])
            self.features.update(zip(places, zip(*found, strict=True), strict=True))


def plan(stand: Stand, version: int, case: Case) -> Path:
    artifact = case.make(name=NAME, version=version)
    Store(stand.environment.store).put(artifact)
    return stand.plan(f"plan-{version}", PATH, EXTRACTORS[case.extractor], artifact.ref)


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stand = Stand(cluster, tmp_path_factory.mktemp(NAME), NAME)
    found, encode = Run(stand), encoder(SCHEMA)
    first, *others = [plan(stand, version, case) for version, case in enumerate(found.cases, 1)]
    stand.run("submit", "detect", "--plan", first)
    messages = ((device.encode(), encode(device, EPOCH_MS + number, values)) for number, (device, values) in enumerate(telemetry(1)))
    try:
        with flowing(stand, messages, RATE) as enough:
            wait_until(lambda: len(stand.frames()) > 20, 90, "records are scored")
            for other in others:
                found.cuts.append({row["partition"]: row["cut_offset"] for row in stand.rows("swap", "--plan", other, "--wait")})
                enough.wait(BEHIND_A_CUT / RATE)
            enough.set()
        found.collect()
        yield found
    finally:
        stand.cancel()


def test_each_reading_is_scored_once(run: Run) -> None:
    assert run.stand.dead_letters() == []
    assert run.answers == Counter((row["partition"], row["offset"]) for row in run.rows) == Counter(run.sent.keys())


@pytest.mark.parametrize("epoch", range(len(CASES)), ids=list(CASES))
def test_scores_are_those_of_an_offline_computation(run: Run, epoch: int) -> None:
    found = [row for row in run.rows if row["epoch"] == epoch]
    places = [(row["partition"], row["offset"]) for row in found]
    assert {row["model"] for row in found} == {f"{NAME}:{epoch + 1}"}
    assert sorted(places) == sorted(place for place in run.sent if run.epoch(place) == epoch)
    rows, warming = zip(*(run.features[place] for place in places), strict=True)
    assert [row["warming"] for row in found] == list(warming)
    assert len(found) > BEHIND_A_CUT // 2
    assert not all(warming)
    assert [row["device"] for row in found] == [run.sent[place]["device"] for place in places]
    agree(run.cases[epoch].like, np.array([row["score"] for row in found]), run.cases[epoch].wanted(np.array(rows)))
