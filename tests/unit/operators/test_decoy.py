"""Features archived beside scores, and what of private fields is kept out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swapstream.models.schema import Field, Schema
from swapstream.operators.extractors import extractors
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.elapsed import Elapsed
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import ScoresFrame, decode_scores
from tests.support.shards import EWM, SCHEMAS, deployable, frame, reading, route, running

PRIVATE = Schema("private", (Field("temperature"), Field("pressure", private=True)))
FIELDS = ("temperature", "pressure", "flow")


def of(role: str, emissions: list[Emission]) -> list[ScoresFrame]:
    return [decode_scores(emission.value) for emission in emissions if emission.role == role]


def offsets(frames: list[ScoresFrame]) -> list[int]:
    return [offset for one in frames for offset in one.column("offsets").tolist()]


def features(frames: list[ScoresFrame]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.frombuffer(one.features, "<f8").reshape(len(one), -1) for one in frames])


def test_a_decoy_archives_what_a_plan_without_champion_would_and_scores_stay_as_they_are() -> None:
    payloads = [reading(f"pump-{i % 3}", (i, -i)) for i in range(12)]
    scored, archived, both = (
        running(deployable("p", extractor=EWM, **roles)).shard.on_frame(frame(payloads))
        for roles in ({"champion": "a:1"}, {}, {"champion": "a:1", "decoy": True})
    )
    assert of("features", scored) == []
    assert of("scores", archived) == []
    assert [one.roles for one in of("scores", both)] == [one.roles for one in of("scores", scored)]
    assert offsets(of("features", both)) == offsets(of("scores", both)) == list(range(12))
    assert features(of("features", both)).tobytes() == features(of("features", archived)).tobytes()


def test_only_routes_with_a_decoy_are_archived_and_their_readings_chain() -> None:
    plan = deployable("p", routes=(route("pump-1", champion="a:1", decoy=True),), champion="a:2")
    worker = running(plan)
    out = [*worker.shard.on_frame(frame([reading("pump-1"), reading("pump-2")])),
           *worker.shard.on_frame(frame([reading("pump-2"), reading("pump-1")], first=2))]
    assert offsets(of("scores", out)) == [0, 1, 2, 3]
    assert [(one.prev, one.first) for one in of("features", out)] == [(-1, 0), (0, 3)]


def test_features_of_private_fields_are_scored_and_not_archived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS, "private", PRIVATE)
    plan = deployable("p", schema="private", extractor=("identity", "ewm", "elapsed"), champion="a:1", decoy=True)
    out = running(plan).shard.on_frame(frame([reading("pump-1", (1.0, 77.25)), reading("pump-1", (2.0, 77.25))]))
    (archived,) = of("features", out)
    assert archived.feature_names == ("temperature", "temperature.ewm_mean", "temperature.ewm_deviation", "elapsed")
    assert features([archived])[:, 0].tolist() == [1.0, 2.0]
    assert np.float64(77.25).tobytes() not in archived.encode()
    assert len(of("scores", out)[0].roles) == 1


@pytest.mark.parametrize("name", list(extractors()))
def test_every_extractor_says_of_which_fields_its_features_are(name: str) -> None:
    """Computed: what changes with a field is said to be made of it."""
    composite = Composite.parse([name], FIELDS)
    rows = np.random.default_rng(0).normal(size=(30, 3))

    def computed(values: Any) -> Any:
        from swapstream.operators.frame import Frame

        at = np.arange(30)
        return composite.extract(Frame(0, at, at, at * 1_000_000, ["d"] * 30, values), composite.table())[0]

    before = computed(rows)
    for place, field in enumerate(FIELDS):
        changed = rows.copy()
        changed[:, place] += np.arange(30.0) ** 2
        touched = ~(computed(changed) == before).all(axis=0)
        assert set(np.flatnonzero(~touched)) == set(composite.open_to({field}))


def test_a_feature_that_is_called_the_same_whatever_the_fields_are_counts_as_made_of_all() -> None:
    class Total(Elapsed, frozen=True):
        """As a user may write one: a sum over the fields."""

        def origins(self) -> tuple[tuple[str, ...], ...]:
            return super(Elapsed, self).origins()

    assert Total(fields=FIELDS).origins() == (FIELDS,)
