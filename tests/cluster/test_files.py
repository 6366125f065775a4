"""Files through the running cluster: train on one, feed another, swap in its middle; scores are scikit-learn's.

Always with a made-up channel. With SWAPSTREAM_TELEMETRY_DIR also with every pair of files NAME.train.* and NAME.test.* (CSV or
Parquet) in that folder: columns `minute` and `label` are left out if they are there, all others are fields.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pandas
import pytest

from . import offline
from .support import Stand, readings

pytestmark = pytest.mark.cluster

FOLDER = os.environ.get("SWAPSTREAM_TELEMETRY_DIR")
GIVEN = sorted(Path(FOLDER).glob("*.train.*")) if FOLDER else []
NOT_FIELDS = {"minute", "label", "time", "device"}
COLUMNS = 25


@pytest.fixture(params=[None, *GIVEN], ids=lambda path: path.name.split(".")[0] if path else "made-up")
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A file to train on and one to feed."""
    if request.param is None:
        return made_up(tmp_path / "made-up.train.parquet", 1500, 1), made_up(tmp_path / "made-up.test.parquet", 3000, 2)
    return request.param, request.param.with_name(request.param.name.replace(".train.", ".test."))


def made_up(path: Path, rows: int, seed: int) -> Path:
    """A channel as a spacecraft's: a measured value, and commands that are in force now and then; some never are."""
    rng = np.random.default_rng(seed)
    commands = (rng.random((rows, COLUMNS - 1)) < np.linspace(0, 0.2, COLUMNS - 1)).astype(float)
    value = np.sin(np.arange(rows) / 30) + 0.05 * rng.normal(size=rows) + commands[:, -1]
    table = pandas.DataFrame(np.column_stack([value, commands]), columns=[f"c{i:02}" for i in range(COLUMNS)])
    table.insert(0, "minute", np.arange(rows))
    table.to_parquet(path)
    return path


def read(path: Path, names: list[str] | None = None) -> pandas.DataFrame:
    table = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path)
    return table[names or [name for name in table if name not in NOT_FIELDS]]


def test_a_file_gives_scikit_learns_scores(cluster: Path, tmp_path: Path, pair: tuple[Path, Path]) -> None:
    train, test = pair
    name = "file-" + train.name.split(".")[0].lower()
    stand = Stand(cluster, tmp_path, name)
    fields = list(read(train))
    schema = stand.write("schema", {"name": name, "fields": fields})
    for kind, version in (("zscore", 1), ("pca", 2)):
        stand.run("train", kind, train, "--name", name, "--version", str(version), "--schema", schema, "--time", "minute",
                  "--time-unit", "min")
    plans = [stand.plan(f"plan-{version}", schema, ["identity"], f"{name}:{version}") for version in (1, 2)]
    stand.run("submit", "detect", "--plan", plans[0])
    try:
        cut = feed_and_swap(stand, test, schema, plans[1])
        answers = stand.settle(90)
    finally:
        stand.cancel()
    telemetry = stand.telemetry()
    assert answers == Counter(readings(telemetry).keys())
    rows = read(test, fields).to_numpy(float)
    check_scores(stand, rows, read(train).to_numpy(float), cut)
    sent = [msgspec.msgpack.decode(record.value or b"")["values"] for record in readings(telemetry).values()]
    np.testing.assert_array_equal(sent, rows)


def feed_and_swap(stand: Stand, file: Path, schema: Path, plan: Path) -> dict[int, int]:
    """Feed the first half of a file, swap, and feed the rest; returns the cut."""
    table = pandas.read_parquet(file) if file.suffix == ".parquet" else pandas.read_csv(file)
    middle, options = len(table) // 2, ("--schema", schema, "--time", "minute", "--time-unit", "min", "--device-name", "probe")
    halves = [stand.directory / f"{half}.parquet" for half in ("first", "second")]
    table[:middle].to_parquet(halves[0])
    table[middle:].to_parquet(halves[1])
    stand.run("feed", halves[0], *options)
    cut = {row["partition"]: row["cut_offset"] for row in stand.rows("swap", "--plan", plan)}
    stand.run("feed", halves[1], *options)
    return cut


def check_scores(stand: Stand, rows: np.ndarray, train: np.ndarray, cut: dict[int, int]) -> None:
    """Every row's score is scikit-learn's for the model that the cut implies; the cut is in the middle."""
    found = sorted((row for frame in stand.frames() for row in frame.rows()), key=lambda row: row["offset"])
    after = np.array([row["offset"] > cut[row["partition"]] for row in found])
    assert np.flatnonzero(after)[0] == len(rows) // 2
    assert [row["model"] for row in found] == [f"{stand.name}:{2 if later else 1}" for later in after]
    wanted = np.where(after, offline.pca(train, rows, 0.95), offline.zscore(train, rows))
    # Where nothing is left of a row but rounding, the errors of two ways to compute it are of the size of rounding, too.
    np.testing.assert_allclose([row["score"] for row in found], wanted, rtol=1e-5, atol=1e-20)
