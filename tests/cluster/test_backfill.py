"""Back through time on a running cluster: a plan over the past beside production, a reading explained, two plans compared."""

from __future__ import annotations

from ast import literal_eval
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from swapstream.models.errors import Unavailable
from swapstream.models.schema import encoder
from swapstream.models.store import Store, where
from swapstream.operators.scores import ScoresFrame
from swapstream.scripts import backfill, publish
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.main import cli
from swapstream.scripts.publish import publish_plan
from swapstream.scripts.topics import existing_topics
from tests.support.notebooks import executed, shown

from .support import EPOCH_MS, Stand, demo_schema, flowing, places, readings

pytestmark = pytest.mark.cluster
RECORDS = 20_000
FAULT = 12_345
"""The reading with a value that is none of the others'."""
PATH, SCHEMA = demo_schema()
EXTRACTOR = ["identity", {"ewm": {"halflife": 5_000, "warmup": 1, "fields": [SCHEMA.names[0]], "statistics": ["residual"]}}]
NOTEBOOK = Path(__file__).parents[1] / "examples" / "anomaly.ipynb"


@pytest.fixture(scope="module")
def stand(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A deployment that has answered RECORDS readings under its first plan, and a second plan beside it. What devices are remembered by
    never fades."""
    found = Stand(cluster, tmp_path_factory.mktemp("past"), "past", snapshot_every_ms=200)
    rows = np.random.default_rng(0).normal(size=(2_000, len(SCHEMA.names)))
    learned = np.column_stack([rows, rows[:, 0]])
    for version in (1, 2):
        found.train("zscore", version, learned[: 1_000 * version], (*SCHEMA.names, f"{SCHEMA.names[0]}.ewm_residual"))
        found.plan(f"plan-{version}", PATH, EXTRACTOR, f"past:{version}")
    found.write("plan-1", {"name": "past", "schema": str(PATH), "extractor": EXTRACTOR, "champion": "past:1", "challengers": ["past:2"]})
    found.run("submit", "detect", "--plan", found.directory / "plan-1.yaml", "--start", "earliest")
    encode = encoder(SCHEMA)

    def values(n: int) -> list[float]:
        return [50.0 if n == FAULT and place == 2 else value for place, value in enumerate(rows[n % 2_000].tolist())]

    messages = ((f"pump-{n % 20}".encode(), encode(f"pump-{n % 20}", EPOCH_MS + n, values(n))) for n in range(RECORDS))
    with flowing(found, messages, 10_000):
        pass
    assert set(found.settle().values()) == {1}
    yield found
    found.cancel()


def test_production_stays_as_it_is(stand: Stand, tmp_path: Path) -> None:
    production = Counter(place for frame in stand.frames() for place in places(frame))
    ledger, wanted = stand.messages("ledger"), readings(stand.telemetry())
    lasts = {partition: max(offset for p, offset in wanted if p == partition) - 100 for partition, _ in wanted}
    first, last = 1_000, min(lasts.values())
    second = stand.directory / "plan-2.yaml"
    out = tmp_path / "answers"
    (row,) = stand.rows("backfill", "--plan", second, "--from", str(first), "--to", str(last), "--out", out)
    table = pandas.read_parquet(out)
    inside = sorted(place for place in wanted if first <= place[1] <= last)
    assert sorted(zip(table["partition"], table["offset"], strict=True)) == inside
    assert set(table["model"]) == {"past:2"}
    assert row["records"] >= len(inside)
    assert row["warmed_up"] is None
    asked = {(said["partition"], said["offset"]): said["score"]
             for frame in stand.frames() for said in frame.rows() if said["model"] == "past:2"}  # fmt: skip
    found = dict(zip(zip(table["partition"], table["offset"], strict=True), table["score"], strict=True))
    assert found == {place: asked[place] for place in inside}
    assert not list((Path(stand.environment.store) / "states").glob("*/*"))
    assert Counter(place for frame in stand.frames() for place in places(frame)) == production
    assert stand.messages("ledger") == ledger
    assert not [name for name in existing_topics(stand.environment) if name.startswith("backfill-")]

    (explained,) = stand.rows("replay", "--until", str(first), "--partition", "0")
    emitted = champions(stand.frames())
    assert explained["champion.score"] == emitted[0, first]["score"]
    assert explained["device"] == emitted[0, first]["device"]

    *plans, both = stand.rows("compare", "epoch:0", second, "--from", str(first), "--to", str(last))
    assert both["records"] == len(inside)
    assert {row["warmed_up"] for row in plans} == {None}
    assert plans[0]["anomalies"] == sum(emitted[place]["anomalous"] for place in inside)
    assert plans[-1]["anomalies"] == int(table["anomalous"].sum())
    stand.run("verify")


def test_the_notebook_explains_the_fault(stand: Stand, tmp_path: Path) -> None:
    cells = shown(executed(NOTEBOOK, tmp_path, SWAPSTREAM_ENV=str(stand.path)))
    [alarm] = [row for row in champions(stand.frames()).values() if row["time"] == 1000 * (EPOCH_MS + FAULT)]
    said = {name: alarm[name] for name in ("partition", "offset", "device")} | {"champion.score": alarm["score"]}
    assert literal_eval(cells["agreement"]["text/plain"]) == said
    assert cells["features"]["text/plain"].startswith(f"feature.{SCHEMA.names[2]} ")
    assert "challenger past:2.score" in cells["reading"]["text/plain"]
    assert "image/png" in cells["picture"]


def test_a_store_that_goes_away_ends_it_and_leaves_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(3).normal(size=(1_000, len(SCHEMA.names)))
    plan = stand.plan("plan-3", PATH, ["identity"], stand.train("zscore", 3, rows, SCHEMA.names))
    kept = Path(stand.environment.store) / where(Store(stand.environment.store).resolve("past:3").digest)
    assert kept.is_file()

    def published(*arguments: Any) -> Any:
        found = publish_plan(*arguments)
        kept.unlink()
        return found

    monkeypatch.setattr(publish, "MAX_INLINE", 0)
    monkeypatch.setattr(backfill, "publish_plan", published)
    command = ["--environment", str(stand.path), "backfill", "--plan", str(plan), "--name", "vain"]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(result.exception, Unavailable), result.output
    assert str(kept) in str(result.exception)
    assert not [name for name in existing_topics(stand.environment) if name.startswith("vain")]
    assert not Deployments(stand.environment).find("vain")
    assert "prod.vain" not in [job["deployment"] for job in stand.rows("status")[0]["jobs"] if job["state"] not in ENDED]


def champions(frames: list[ScoresFrame]) -> dict[tuple[int, int], dict[str, Any]]:
    """What the champion said, by place."""
    return {(row["partition"], row["offset"]): row for frame in frames for row in frame.rows() if row["role"] == "champion"}

