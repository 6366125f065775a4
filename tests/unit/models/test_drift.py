"""How scores lie in training, and whether they still do."""

from __future__ import annotations

import doctest

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models import drift, statistics, train
from swapstream.models.build import with_metrics
from swapstream.models.drift import LIMIT, stability
from swapstream.models.errors import InvalidArtifact
from swapstream.models.manifest import Distribution, Source
from swapstream.models.revision import revise
from swapstream.models.statistics import ENOUGH, distribution
from tests.unit.models.examples import LINEAGE

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("module", [drift, statistics])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@given(st.lists(st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1.0]), min_size=ENOUGH, max_size=300))
def test_every_distribution_is_sound_and_no_drift_of_itself(scores: list[float]) -> None:
    found = distribution(np.array(scores))
    assert found is not None
    assert found.sound
    assert stability(found, np.array(scores)) == pytest.approx(0, abs=2e-3)  # FLOOR, where a part is empty


def test_few_scores_have_no_distribution() -> None:
    assert distribution(np.arange(ENOUGH - 1.0)) is None
    assert distribution(np.full(500, np.nan)) is None


def test_index_is_the_textbooks() -> None:
    found = Distribution((0.0, 1.0), (0.2, 0.5, 0.3))
    now = np.repeat([-1.0, 0.5, 2.0], [30, 30, 40])
    expected = (0.3 - 0.2) * np.log(0.3 / 0.2) + (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.4 - 0.3) * np.log(0.4 / 0.3)
    assert stability(found, now) == pytest.approx(expected)


def test_a_shift_is_told_from_chance() -> None:
    found = distribution(RNG.normal(size=20_000))
    assert found is not None
    assert stability(found, RNG.normal(size=2_000)) < 0.05
    assert stability(found, RNG.normal(1.0, size=2_000)) > LIMIT
    assert stability(found, 3 * RNG.normal(size=2_000)) > LIMIT
    assert stability(found, np.array([np.nan])) == 0


def test_a_model_knows_how_its_training_scores_lie() -> None:
    rows = RNG.normal(size=(400, 3))
    model = train("zscore", rows, name="m", lineage=LINEAGE)
    found = model.manifest.reference.scores
    assert model.manifest.v == 3
    assert found == distribution(np.abs((rows - rows.mean(axis=0)) / rows.std(axis=0)).max(axis=1))
    assert train("zscore", rows[:50], name="m", lineage=LINEAGE).manifest.v == 1


def test_other_numbers_have_other_scores() -> None:
    rows = RNG.normal(size=(400, 3))
    model = train("zscore", rows, name="m", lineage=LINEAGE)
    numbers = {name: array * 2 for name, array in model.parameters.items()}
    assert (revise(model, numbers).manifest.reference.scores, revise(model, numbers).manifest.v) == (None, 1)
    assert revise(model, numbers, sample=rows).manifest.reference.scores is not None


def test_metrics_change_the_lineage_alone() -> None:
    model = train("zscore", RNG.normal(size=(50, 3)), name="m", lineage=LINEAGE)
    told = with_metrics(model, {"alarm_rate": 0.25})
    assert (told.manifest.v, told.manifest.lineage.metrics, told.manifest.digest) == (3, {"alarm_rate": 0.25}, model.manifest.digest)
    assert told.decode(told.encode()).manifest == told.manifest
    with pytest.raises(InvalidArtifact, match=r"lineage\.metrics is .* allowed: finite numbers"):
        with_metrics(model, {"alarm_rate": float("nan")})


def test_a_span_of_telemetry_is_of_version_3() -> None:
    span = Source("telemetry", "t", "0" * 64, 5, 0, 10, 20)
    model = train("zscore", RNG.normal(size=(50, 3)), name="m", lineage=msgspec.structs.replace(LINEAGE, data=(span,)))
    assert (model.manifest.v, str(span)) == (3, "telemetry t-0 10 to 20: 5 rows, 000000000000")


@pytest.mark.parametrize("wrong", [
    Distribution((), (1.0,)), Distribution((1.0, 1.0), (0.2, 0.3, 0.5)), Distribution((1.0,), (0.5, 0.6)),
    Distribution((1.0,), (1.5, -0.5)), Distribution((1.0,), (1.0,)), Distribution((float("inf"),), (1.0, 0.0)),
])  # fmt: skip
def test_a_distribution_that_can_not_be_is_refused(wrong: Distribution) -> None:
    said = train("zscore", RNG.normal(size=(400, 3)), name="m", lineage=LINEAGE).manifest
    with pytest.raises(InvalidArtifact, match=r"reference\.scores"):
        msgspec.structs.replace(said, reference=msgspec.structs.replace(said.reference, scores=wrong))
