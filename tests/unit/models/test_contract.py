"""The contract of every kind that is found: fit, artifact, bytes, golden rows, scores of an independent calculation, bits
that don't depend on batching, and damaged numbers refused. A new kind needs an oracle and, where it has settings that must
be given, an example."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapstream.models import revise, train
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.errors import InvalidArtifact, InvalidSettings, Rejected
from swapstream.models.gate import check
from swapstream.models.kinds import KINDS, scorer
from swapstream.models.numbers import numbers
from tests.unit.models.examples import LINEAGE, NAMES, example, make, sample, truth
from tests.unit.models.oracles import ORACLES, agree

FRESH = sample(700, seed=9)
TRAINED = sorted(set(KINDS) - {"onnx"})
NATIVE = sorted(kind for kind in KINDS if example(kind).graph is None)


def test_every_kind_has_an_oracle() -> None:
    assert set(ORACLES) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_scores_are_those_of_an_independent_calculation(kind: str) -> None:
    loaded = check(Artifact.decode(example(kind).encode()), NAMES)
    agree(kind, loaded.score(FRESH), ORACLES[kind](sample(), FRESH))


def test_golden_rows_and_scores_are_the_models_own(artifact: Artifact) -> None:
    again = Artifact.decode(artifact.encode())
    assert scorer(again).score(again.golden_inputs).tobytes() == artifact.golden_scores.tobytes()


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 300), max_size=8), shift=st.integers(0, 130))
def test_bits_do_not_depend_on_batching(kind: str, cuts: list[int], shift: int) -> None:
    loaded = scorer(example(kind))
    rows = sample(300, seed=2)
    whole = loaded.score(rows)
    parts = [loaded.score(part) for part in np.split(rows, sorted(cuts))]
    shifted = loaded.score(np.concatenate([rows[:shift] * 3.0, rows]))[shift:]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert shifted.tobytes() == whole.tobytes()


def damaged(artifact: Artifact, **parameters: Any) -> Artifact:
    """The artifact with other numbers, and the digest that belongs to them."""
    made = msgspec.structs.replace(artifact, parameters={**artifact.parameters, **parameters})
    digest = payload_digest(made.parameters, made.graph, made.golden_inputs, made.golden_scores)
    return msgspec.structs.replace(made, manifest=msgspec.structs.replace(made.manifest, digest=digest))


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize("damage", ["nan", "inf", "float32", "rank", "longer", "missing", "extra"])
def test_damaged_numbers_are_refused_by_name(kind: str, damage: str) -> None:
    for name, array in example(kind).parameters.items():
        broken = array.astype(np.float64)
        if damage in ("nan", "inf"):
            broken.flat[-1] = float(damage)
        changes: dict[str, Any] = {
            "float32": {name: array.astype(np.float32)},
            "rank": {name: array[None]},
            "longer": {name: np.concatenate([array, array])},
            "extra": {f"{name}_": array},
        }
        model = damaged(example(kind), **changes.get(damage, {name: broken}))
        if damage == "missing":
            rest = {key: value for key, value in model.parameters.items() if key != name}
            model = damaged(msgspec.structs.replace(model, parameters=rest))
        with pytest.raises(Rejected, match=rf"^demo:1: (load|finite): [^\n]*({name.split('.')[0]}|bias|layers)[^\n]*$"):
            check(model)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_next_version_has_the_same_structure_and_other_numbers(kind: str) -> None:
    parent = example(kind)
    changed = {name: array * np.asarray(1.5, array.dtype) for name, array in numbers(parent).items()}
    child = revise(parent, changed, lineage=LINEAGE)
    assert (child.ref, child.manifest.threshold) == ("demo:2", parent.manifest.threshold)
    assert {name: array.tobytes() for name, array in numbers(child).items()} == {
        name: array.tobytes() for name, array in changed.items()
    }
    assert child.golden_inputs.tobytes() == parent.golden_inputs.tobytes()
    assert check(Artifact.decode(child.encode())).score(FRESH).shape == (700,)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_next_version_of_the_same_numbers_scores_the_same(kind: str) -> None:
    parent = example(kind)
    child = revise(parent, numbers(parent), lineage=LINEAGE)
    assert child.golden_scores.tobytes() == parent.golden_scores.tobytes()
    assert child.manifest.structure == parent.manifest.structure


@pytest.mark.parametrize("kind", TRAINED)
def test_unknown_settings_are_refused(kind: str) -> None:
    allowed = "none" if not KINDS[kind].SETTINGS else next(iter(KINDS[kind].SETTINGS))
    with pytest.raises(InvalidSettings, match=f"^{kind}: unknown setting 'parts'; allowed: {allowed}"):
        make(kind, settings={"parts": 2})


def test_kinds_that_learn_from_labels_need_them_and_others_leave_anomalies_out() -> None:
    for kind in TRAINED:
        if KINDS[kind].LABELS:
            with pytest.raises(InvalidSettings, match=f"^{kind}: needs labels of both sorts; found: none"):
                train(kind, sample(), NAMES, name="demo", lineage=LINEAGE)
            continue
        labelled = make(kind, labels=truth(sample()))
        normal = sample()[~truth(sample())]
        np.testing.assert_allclose(labelled.manifest.reference.median, np.median(normal, axis=0))


@pytest.mark.parametrize("labels", [[True], [0.5] * 500, ["x"] * 500])
def test_labels_must_be_one_a_row(labels: list[Any]) -> None:
    with pytest.raises(InvalidSettings, match=r"labels are .*; allowed: one for each of 500 rows"):
        make("zscore", labels=labels)


def test_numbers_of_another_structure_are_refused() -> None:
    parent = example("autoencoder")
    own = numbers(parent)
    for changes, line in (
        ({"bias.0": own["bias.0"].astype(np.float32)}, r"parameter 'bias.0' is float32\(2,\); allowed is float64\(2,\)"),
        ({"bias.0": own["bias.1"]}, r"parameter 'bias.0' is float64\(5,\); allowed is float64\(2,\)"),
        ({"bias.0": own["bias.0"] * np.nan}, "parameter 'bias.0' must be finite"),
        ({"bias.9": own["bias.1"]}, "unknown parameter 'bias.9'; allowed: mean, scale"),
    ):
        with pytest.raises(InvalidArtifact, match=rf"^demo:1: {line}"):
            revise(parent, {**own, **changes}, lineage=LINEAGE)
    with pytest.raises(InvalidArtifact, match="parameter 'mean' is missing; needed: mean, scale"):
        revise(parent, {name: array for name, array in own.items() if name != "mean"}, lineage=LINEAGE)


def test_a_sample_calibrates_the_next_version() -> None:
    parent = make("zscore", alarm_rate=0.01)
    moved = {"mean": parent.parameters["mean"] + 100.0, "deviation": parent.parameters["deviation"]}
    child = revise(parent, moved, sample=sample() + 100.0, lineage=LINEAGE)
    assert child.manifest.threshold == pytest.approx(parent.manifest.threshold)
    assert child.manifest.alarm_rate == 0.01
    np.testing.assert_allclose(child.manifest.reference.mean, np.array(parent.manifest.reference.mean) + 100.0)
    assert revise(parent, moved, threshold=7.5, version=9).manifest.threshold == 7.5


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"alarm_rate": 0.1}, "an alarm rate needs a sample"),
        ({"threshold": 1.0, "sample": sample()}, "a threshold and a sample .* allowed: one of them"),
        ({"sample": sample()[:, :3]}, "sample of 3 columns; demo:1 takes 5"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidSettings, match=line):
        revise(example("zscore"), numbers(example("zscore")), lineage=LINEAGE, **options)


def test_lineage_tells_of_the_parent_and_of_the_numbers() -> None:
    parent = example("zscore")
    said = revise(parent, numbers(parent)).manifest.lineage
    assert said.parent == "demo:1"
    assert [(source.kind, source.rows) for source in said.data] == [("parameters", 2)]
