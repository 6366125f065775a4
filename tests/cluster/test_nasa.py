"""NASA's telemetry, from an archive to a second model, on a running cluster: tests/examples/nasa.md as it stands there.

The data are not in the repository: SWAPSTREAM_NASA names their directory.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn.metrics import average_precision_score

from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.exports import read_about
from tests.docs.markdown import ROOT, blocks
from tests.docs.tour import run

from .support import Stand, places, readings, wait_until

DATA = Path(os.environ.get("SWAPSTREAM_NASA") or "not-said")
FILES = {craft: sorted(DATA.glob(f"{craft}-*.test.parquet")) for craft in ("smap", "msl")}
pytestmark = [pytest.mark.cluster, pytest.mark.long,
              pytest.mark.skipif(not all(FILES.values()), reason="SWAPSTREAM_NASA names no directory with smap- and msl-*.test.parquet")]
BLOCKS = [block.text for block in blocks((ROOT / "tests" / "examples" / "nasa.md").read_text()) if block.language == "sh"]
START = pandas.Timestamp("2026-01-03", tz="UTC")
STEPS = 4


def test_the_walk_runs_as_it_stands(cluster: Path, tmp_path: Path) -> None:
    stand, here = Stand(cluster, tmp_path, "nasa"), tmp_path / "here"
    here.mkdir()
    assert len(BLOCKS) == STEPS
    printed = []
    for block in BLOCKS:
        printed.append(run(here, stand.path, "sh", block.replace("$SWAPSTREAM_NASA", str(DATA.resolve()))))
        wait_until(lambda: set(readings(stand.telemetry())) <= put_out(stand).keys(), 120, "every reading is put out")
    assert max(put_out(stand).values()) == 1
    check_archive(here)
    assert [output.count("activated") for output in printed] == [0, stand.environment.topics.telemetry.partitions, 4, 0]
    check_comparison(stand, here)
    check_explained(stand, here)
    stand.cancel()


def frames(stand: Stand, role: str) -> list[ScoresFrame]:
    topic = stand.environment.topics.by_role()[role].name
    return [decode_scores(record.value or b"") for record in kafka.read_to_end(stand.environment, topic)]


def put_out(stand: Stand) -> Counter[tuple[int, int]]:
    """How often each record is in features or scores."""
    return Counter(place for role in ("features", "scores") for frame in frames(stand, role) for place in places(frame))


def check_archive(here: Path) -> None:
    """Each reading of the train files of a craft, and its features."""
    for craft, count in (("smap", 27), ("msl", 57)):
        about = read_about(here / f"{craft}-train")
        rows = sum(len(pandas.read_parquet(path)) for path in DATA.glob(f"{craft}-*.train.parquet"))
        assert (about.source, about.rows, len(about.columns)) == ("features", rows, count)


def check_comparison(stand: Stand, here: Path) -> None:
    """`compare` says of the first models what came out under them, and of labels what is in the files."""
    began = (here / "began").read_text().strip()
    emitted = pandas.DataFrame(row for frame in frames(stand, "scores") for row in frame.rows())
    for craft in FILES:
        first, second, both = stand.rows("compare", "epoch:1", here / "second.yaml", "--schema", craft, "--from", began)
        mine = emitted[(emitted["epoch"] == 1) & (emitted["model"] == f"{craft}:1")]
        truth = labels_of(craft)
        known = truth.loc[list(zip(mine["device"], mine["time"], strict=True))].to_numpy()
        warm = ~mine["warming"].to_numpy()
        assert first["records"] == second["records"] == both["records"] == len(mine) == len(truth)
        assert first["anomalies"] == int(mine["anomalous"].sum())
        assert first["warmed_up"] is second["warmed_up"] is None
        assert first["average_precision"] == pytest.approx(average_precision_score(known[warm], mine["score"][warm]))
        assert both["agreement"] > 0.9
        assert second["model"] == f"{craft}:2"


def labels_of(craft: str) -> pandas.Series:
    """Whether a reading is an anomaly, by device and event time (µs)."""
    found = []
    for path in FILES[craft]:
        table = pandas.read_parquet(path, columns=["minute", "label"])
        times = (START + pandas.to_timedelta(table["minute"], "min")).astype("datetime64[us, UTC]").astype(np.int64)
        index = pandas.MultiIndex.from_product([[path.name.split(".")[0]], times])
        found.append(pandas.Series(table["label"].to_numpy(bool), index))
    return pandas.concat(found)


def check_explained(stand: Stand, here: Path) -> None:
    """`replay` has the alarm's own score and values; `verify` finds nothing else either."""
    alarm = json.loads((here / "alarm.json").read_text())
    (told,) = stand.rows("replay", "--partition", str(alarm["partition"]), "--until", str(alarm["offset"]))
    assert (told["champion.score"], told["device"], told["anomalous"]) == (alarm["score"], alarm["device"], True)
    assert told["state"]
    assert all(row["differs"] == 0 for row in stand.rows("verify"))
