"""Thresholds, contributions, golden vectors, reference statistics and lineage."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models import train
from swapstream.models.artifact import Artifact
from swapstream.models.calibrate import threshold
from swapstream.models.contributions import contributions
from swapstream.models.errors import InvalidSettings
from swapstream.models.kinds import scorer
from swapstream.models.lineage import array_source, file_source, lineage
from tests.unit.models.examples import make, normal, sample


@given(
    scores=st.lists(st.integers(0, 20), min_size=1, max_size=60), rate=st.floats(0, 0.99)
)
def test_a_threshold_is_the_smallest_that_holds_the_rate(scores: list[int], rate: float) -> None:
    values = np.array(scores, np.float64)
    found = threshold(values, rate)
    allowed = rate * len(values) + 1e-9
    assert (values > found).sum() <= allowed
    lower = values[values < found]
    assert not lower.size or (values > lower.max()).sum() > allowed


def test_a_rate_that_is_not_exact_in_binary() -> None:
    assert threshold(np.arange(100.0), 0.29) == 70.0


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_a_threshold_needs_finite_scores(scores: list[float]) -> None:
    with pytest.raises(InvalidSettings, match="training scores are not finite"):
        threshold(np.array(scores), 0.1)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.05])
def test_the_alarm_rate_holds_on_the_training_rows(artifact: Artifact, rate: float) -> None:
    model = make(artifact.manifest.kind, alarm_rate=rate)
    rows = normal(artifact.manifest.kind, sample())
    above = int((scorer(model).score(rows) > model.manifest.threshold).sum())
    allowed = int(rate * len(rows))
    assert above <= allowed
    assert above == allowed or artifact.manifest.kind == "rules"  # their scores are few different ones


def test_contributions_name_the_feature_that_stands_out(artifact: Artifact) -> None:
    loaded, reference = scorer(artifact), artifact.manifest.reference
    rows = np.tile(reference.median, (3, 1))
    rows[np.arange(3), [0, 1, 3]] += [50.0, 500.0, 150.0]
    found = contributions(loaded, rows, artifact.manifest)
    assert found.shape == (3, 5)
    assert found.argmax(axis=1).tolist() == [0, 1, 3]
    assert found[:, 4].tolist() == [0.0, 0.0, 0.0]


def test_contributions_are_score_minus_score_at_the_median(artifact: Artifact) -> None:
    loaded, rows, reference = scorer(artifact), sample(7, seed=8), artifact.manifest.reference
    moved = rows.copy()
    moved[:, 2] = reference.median[2]
    found = contributions(loaded, rows, artifact.manifest)
    assert found[:, 2].tobytes() == (loaded.score(rows) - loaded.score(moved)).tobytes()
    assert contributions(loaded, rows[3:4], artifact.manifest).tobytes() == found[3:4].tobytes()
    assert contributions(loaded, rows[:0], artifact.manifest).shape == (0, 5)


def test_reference_statistics(artifact: Artifact) -> None:
    reference = artifact.manifest.reference
    rows = normal(artifact.manifest.kind, sample())
    np.testing.assert_allclose(reference.median, np.median(rows, axis=0))
    np.testing.assert_allclose(reference.mean, rows.mean(axis=0))
    np.testing.assert_allclose(reference.deviation, rows.std(axis=0), atol=1e-12)


def test_golden_rows_hold_the_extremes(artifact: Artifact) -> None:
    rows, scores = sample(), scorer(artifact).score(sample())
    golden = artifact.golden_inputs
    assert len(golden) == 64
    assert artifact.golden_scores.max() == scores.max()
    assert golden.max(axis=0).tolist() == rows.max(axis=0).tolist()
    assert len(np.unique(golden, axis=0)) == 64


def test_few_rows_are_all_golden() -> None:
    assert len(train("zscore", sample(5), name="demo").golden_inputs) == 5


def test_lineage_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git("init", "-q")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-qm", "x")
    clean = lineage(command="train", seed=3, created="2026-01-01T00:00:00+00:00")
    assert (clean.author, clean.dirty, clean.seed, clean.created) == ("Ada <ada@example.org>", False, 3, "2026-01-01T00:00:00+00:00")
    assert len(clean.code_revision or "") == 40
    (tmp_path / "code.py").write_text("2")
    assert lineage().dirty is True


def test_lineage_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    made = lineage()
    assert (made.code_revision, made.dirty) == (None, None)
    assert "@" in made.author
    assert made.created.endswith("+00:00")
    assert {"numpy", "onnxruntime"} <= set(made.libraries)


def test_sources_are_digests_of_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc")
    source = file_source(tmp_path / "a.csv", 7)
    assert (source.name, source.rows) == ("a.csv", 7)
    assert source.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert array_source(sample()) == array_source(np.asfortranarray(sample())) != array_source(sample(seed=1))


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)
