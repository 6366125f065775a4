"""Two plans over the same telemetry."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, cohen_kappa_score, precision_score, recall_score

from swapstream.models.errors import InvalidSettings
from swapstream.operators.labels import Label, Labels, RecordId
from swapstream.operators.lookup import DefinitionsLookup
from swapstream.operators.pipeline import Pipeline
from swapstream.scripts.comparing import Comparison, agreement, side_by_side, taken
from swapstream.scripts.trial import rows_of
from tests.support.shards import EWM, NAMESPACE, TOPIC, Deployable, deployable, frame, reading, route, running, token

ONE = deployable("one", extractor=("identity", *EWM), champion="a:1", challengers=("b:1",))
TWO = deployable("two", extractor=EWM, champion="c:1", threshold=1.5)
SPLIT = deployable("split", routes=(route("pump-1", champion="a:1"), route("pump-2")))


def pipeline(one: Deployable) -> Pipeline:
    worker = running(one)
    return Pipeline(one.plan, DefinitionsLookup(worker.definitions, NAMESPACE))


def payloads(count: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    found = [reading(f"pump-{1 + n % 3}", (rng.normal(size=2) * (5 if n % 17 == 0 else 1)).tolist(), time=1_000 + n) for n in range(count)]
    found[10] = token(1, "0" * 64, 0)
    found[20] = b"{"
    return found


def compared(first: Deployable, second: Deployable, count: int = 300, begin: int = 0, size: int = 64) -> Comparison:
    comparison = Comparison(pipeline(first), pipeline(second), None)
    said = payloads(count)
    for partition in (0, 1):
        raws = [frame(said[at : at + size], partition=partition, first=at) for at in range(0, count, size)]
        assert list(comparison.partition(raws, begin))[-1] == count - 1
    return comparison


def labels_of(count: int) -> Labels:
    return Labels([Label(RecordId(TOPIC, partition, n), n % 17 == 0) for n in range(count) for partition in (0, 1)])


def test_measures_are_those_of_scikit_learn() -> None:
    first, second = compared(ONE, TWO).trials(labels_of(300), TOPIC)
    truth = first.labels
    assert truth is not None
    assert 0 < truth.sum() < len(truth) == 596
    for trial in (first, second):
        champion = trial.roles[0]
        row = rows_of(trial)[0]
        ranked = champion.scored & ~trial.warming
        assert row["precision"] == pytest.approx(precision_score(truth, champion.alarms))
        assert row["recall"] == pytest.approx(recall_score(truth, champion.alarms))
        assert row["average_precision"] == pytest.approx(average_precision_score(truth[ranked], champion.scores[ranked]))


def test_agreement_counts_what_both_decide() -> None:
    first, second = compared(ONE, TWO).trials(Labels([]), TOPIC)
    assert first.labels is None
    a, b = first.roles[0].alarms, second.roles[0].alarms
    found = agreement(first, second)
    assert (found["both"], found["only_first"], found["only_second"]) == ((a & b).sum(), (a & ~b).sum(), (b & ~a).sum())
    assert found["records"] == 596
    assert found["agreement"] == pytest.approx((a == b).mean())
    assert found["kappa"] == pytest.approx(cohen_kappa_score(a, b))
    assert -1 <= found["rank_correlation"] <= 1


def test_a_plan_agrees_with_itself() -> None:
    found = agreement(*compared(ONE, ONE).trials(Labels([]), TOPIC))
    assert (found["agreement"], found["kappa"], found["only_first"], found["only_second"]) == (1.0, 1.0, 0, 0)
    assert found["rank_correlation"] == pytest.approx(1.0)


def test_only_what_both_decide_is_compared() -> None:
    found = agreement(*compared(ONE, SPLIT).trials(Labels([]), TOPIC))
    assert found["records"] == 2 * len([n for n in range(300) if n % 3 == 0])


def test_records_before_the_span_warm_devices_up() -> None:
    cold, _ = compared(ONE, TWO, begin=0).trials(Labels([]), TOPIC)
    warm, _ = compared(ONE, TWO, begin=100).trials(Labels([]), TOPIC)
    assert cold.warming.any()
    assert not warm.warming.any()
    late = np.flatnonzero(cold.frame.offsets >= 100)
    assert warm.frame.offsets.tolist() == cold.frame.offsets[late].tolist()
    for whole, part in zip(cold.roles, warm.roles, strict=True):
        assert np.array_equal(whole.scores[late], part.scores)


@pytest.mark.parametrize("size", [1, 7, 300])
def test_nothing_depends_on_frames(size: int) -> None:
    usual, other = (compared(ONE, SPLIT, size=each).trials(Labels([]), TOPIC) for each in (64, size))
    for one, two in zip(usual, other, strict=True):
        assert [role.scores.tobytes() for role in one.roles] == [role.scores.tobytes() for role in two.roles]


def test_plans_that_read_other_messages_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="read other messages"):
        Comparison(pipeline(ONE), pipeline(deployable("wide", schema="wide", champion="w:1")), None)


def test_errors_stay_with_their_readings() -> None:
    part = pipeline(ONE).input()
    said = part.process(worker_frame(), part.new_table())
    said = msgspec.structs.replace(said, roles=[msgspec.structs.replace(said.roles[0], errors={0: "first", 3: "fourth"})])
    kept = taken(said, said.frame.offsets >= 2)
    assert kept.roles[0].errors == {1: "fourth"}
    assert kept.frame.offsets.tolist() == list(range(2, 6))


def worker_frame():
    found = pipeline(ONE)
    frames, _ = found.decoders.decode(frame([reading(f"pump-{n}", (n, n)) for n in range(6)]), 0, 6)
    return frames[0]


def test_a_picture_has_both_champions() -> None:
    both = side_by_side(*compared(ONE, TWO).trials(Labels([]), TOPIC))
    assert [role.role for role in both.roles] == ["first", "second"]
