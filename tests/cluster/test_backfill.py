"""Back through time on a running cluster: a plan over the past beside production, a reading explained, two plans compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest

from swapstream.models.schema import encoder
from swapstream.scripts.topics import existing_topics

from .support import EPOCH_MS, Stand, demo_schema, flowing, places, readings

pytestmark = pytest.mark.cluster
RECORDS = 20_000
PATH, SCHEMA = demo_schema()


@pytest.fixture
def stand(cluster: Path, tmp_path: Path) -> Stand:
    """A deployment that has answered RECORDS readings under its first plan, and a second plan beside it."""
    found = Stand(cluster, tmp_path, "past")
    rows = np.random.default_rng(0).normal(size=(2_000, len(SCHEMA.names)))
    for version in (1, 2):
        found.train("zscore", version, rows[: 1_000 * version], SCHEMA.names)
        found.plan(f"plan-{version}", PATH, ["identity"], f"past:{version}")
    found.run("submit", "detect", "--plan", found.directory / "plan-1.yaml", "--start", "earliest")
    encode = encoder(SCHEMA)
    messages = ((f"pump-{n % 20}".encode(), encode(f"pump-{n % 20}", EPOCH_MS + n, rows[n % 2_000].tolist())) for n in range(RECORDS))
    with flowing(found, messages, 10_000):
        pass
    assert set(found.settle().values()) == {1}
    return found


def test_production_stays_as_it_is(stand: Stand, tmp_path: Path) -> None:
    production = Counter(place for frame in stand.frames() for place in places(frame))
    ledger, wanted = stand.messages("ledger"), readings(stand.telemetry())
    lasts = {partition: max(offset for p, offset in wanted if p == partition) - 100 for partition, _ in wanted}
    first, last = 1_000, min(lasts.values())
    second = stand.directory / "plan-2.yaml"
    out = tmp_path / "answers"
    (row,) = stand.rows("backfill", "--plan", second, "--from", str(first), "--to", str(last), "--before", "50", "--out", out)
    table = pandas.read_parquet(out)
    inside = sorted(place for place in wanted if first <= place[1] <= last)
    assert sorted(zip(table["partition"], table["offset"], strict=True)) == inside
    assert set(table["model"]) == {"past:2"}
    assert row["records"] >= len(inside)
    assert Counter(place for frame in stand.frames() for place in places(frame)) == production
    assert stand.messages("ledger") == ledger
    assert not [name for name in existing_topics(stand.environment) if name.startswith("backfill-")]

    (explained,) = stand.rows("replay", "--until", str(first), "--partition", "0")
    emitted = {(row["partition"], row["offset"]): row for frame in stand.frames() for row in frame.rows()}
    assert explained["champion.score"] == emitted[0, first]["score"]
    assert explained["device"] == emitted[0, first]["device"]

    *plans, both = stand.rows("compare", "epoch:0", second, "--from", str(first), "--to", str(last))
    assert both["records"] == len(inside)
    assert plans[1]["anomalies"] == int(table["anomalous"].sum())
    stand.run("verify")
    stand.cancel()

