"""`swapstream push --params` and `models params`: a model's numbers out, changed, and in again as the next version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.models import Artifact, Store
from swapstream.models.errors import InvalidArtifact, InvalidSettings, UnknownName
from swapstream.models.kinds import scorer
from swapstream.models.lineage import file_source
from swapstream.operators.statement import decode_definition
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.models import models_command
from swapstream.scripts.push import push_command
from swapstream.scripts.trusting import trust_first
from tests.support.shards import FIELDS, model
from tests.support.topics import Topics


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topics: Topics) -> Environment:
    """A store with a:1, its numbers in p.npz, and a key that is trusted."""
    monkeypatch.chdir(tmp_path)
    Path("env.yaml").write_text(f"directory: {tmp_path}/run\n")
    made = load_environment("env.yaml")
    Store(made.store).put(model("a:1", FIELDS))
    run(models_command, "params", "a:1", "p.npz")
    trust_first(made)
    return made


def run(command: Any, *arguments: str) -> list[dict[str, Any]]:
    found = CliRunner().invoke(command, [*arguments, "--json"], obj="env.yaml", catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def published(environment: Environment, topics: Topics) -> list[Artifact]:
    said = [decode_definition(record.value or b"") for record in topics.records[environment.topics.parameters.name]]
    return [Artifact.decode(statement.body) for statement in said if statement.kind != "key"]


def change(**arrays: Any) -> None:
    with np.load("p.npz") as file:
        own = {name: file[name] for name in file.files}
    np.savez("p.npz", **{**own, **arrays})


def test_a_model_goes_out_as_it_is(environment: Environment, topics: Topics) -> None:
    row = run(push_command, "a")[0]
    (artifact,) = published(environment, topics)
    assert (row["model"], row["digest"]) == ("a:1", artifact.digest)
    assert artifact.encode() == model("a:1", FIELDS).encode()


def test_numbers_make_the_next_version(environment: Environment, topics: Topics) -> None:
    change(mean=np.array([5.0, 7.0]))
    assert run(push_command, "a", "--params", "p.npz")[0]["model"] == "a:2"
    (artifact,) = published(environment, topics)
    parent = model("a:1", FIELDS)
    assert artifact.encode() == Store(environment.store).get("a:2").encode()
    assert scorer(artifact).score(np.array([[5.0, 7.0]]))[0] == 0.0
    assert artifact.manifest.threshold == parent.manifest.threshold
    said = artifact.manifest.lineage
    assert (said.parent, said.extractor) == ("a:1", parent.manifest.lineage.extractor)
    assert [(source.kind, source.name, source.rows) for source in said.data] == [("parameters", "p.npz", 2)]
    assert said.data[0].sha256 == file_source("p.npz", 2).sha256


def test_versions_count_on_from_the_newest(environment: Environment, topics: Topics) -> None:
    refs = [run(push_command, "a:1", "--params", "p.npz", "--threshold", str(i))[0]["model"] for i in (1, 2)]
    assert refs == ["a:2", "a:3"]
    newest = Store(environment.store).get("a").manifest
    assert (newest.threshold, newest.lineage.parent) == (2.0, "a:1")


def test_a_sample_calibrates(environment: Environment, topics: Topics) -> None:
    rows = np.random.default_rng(0).normal(size=(100, 2))
    np.save("x.npy", rows)
    run(push_command, "a", "--params", "p.npz", "--sample", "x.npy", "--alarm-rate", "0.1")
    (artifact,) = published(environment, topics)
    assert (scorer(artifact).score(rows) > artifact.manifest.threshold).sum() == 10
    assert [source.kind for source in artifact.manifest.lineage.data] == ["parameters", "file"]


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"mean": np.zeros(3)}, r"a:1: parameter 'mean' is float64\(3,\); allowed is float64\(2,\)"),
        ({"mean": np.zeros(2, np.float32)}, r"a:1: parameter 'mean' is float32\(2,\)"),
        ({"mean": np.array([np.nan, 0])}, "a:1: parameter 'mean' must be finite"),
        ({"men": np.zeros(2)}, "a:1: unknown parameter 'men'; allowed: "),
    ],
)
def test_other_numbers_are_refused_and_nothing_is_kept(
    environment: Environment, topics: Topics, arrays: dict[str, Any], line: str
) -> None:
    change(**arrays)
    with pytest.raises(InvalidArtifact, match=f"^{line}"):
        run(push_command, "a", "--params", "p.npz")
    assert Store(environment.store).versions("a") == (1,)
    assert published(environment, topics) == []


def test_files_that_are_none_are_refused(environment: Environment, topics: Topics) -> None:
    np.savez("objects.npz", mean=np.array([None]))
    Path("text.npz").write_text("mean")
    for name in ("objects.npz", "text.npz", "none.npz"):
        with pytest.raises(InvalidSettings, match=rf"^parameters {name}: not a \.npz file of numbers: [^\n]*$"):
            run(push_command, "a", "--params", name)
    with pytest.raises(InvalidSettings, match=r"parameters p\.txt: the file's name must end in \.npz"):
        run(models_command, "params", "a", "p.txt")


def test_calibration_belongs_to_a_next_version(environment: Environment, topics: Topics) -> None:
    with pytest.raises(InvalidSettings, match="belong to the next version that --params makes"):
        run(push_command, "a", "--threshold", "3")
    with pytest.raises(UnknownName):
        run(push_command, "b", "--params", "p.npz")


def test_kinds_are_shown_with_their_settings() -> None:
    rows = run(models_command, "kinds")
    assert {"kind": "linear", "setting": "target", "means": "the feature that the others explain [the first]"} in rows
    assert {row["kind"] for row in rows} >= {"zscore", "pca", "rules", "autoencoder"}
