"""The README's tour on a running cluster, as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.tour import run, steps

from .support import Stand

pytestmark = [pytest.mark.cluster, pytest.mark.long]


def test_the_tour_runs_as_it_stands(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, "tour")
    (tmp_path / "here").mkdir()
    printed = {text: run(tmp_path / "here", stand.path, command, text)
               for command, text in steps() if command not in ("up", "down")}  # the cluster is that of all tests
    [swap] = [output for text, output in printed.items() if text.startswith("swapstream swap")]
    assert swap.count("activated") == 4, swap
    anomalies = stand.messages("anomalies")
    assert {anomaly["model"] for anomaly in anomalies} == {"pump:1", "pump:2"}
    models = {(row["epoch"], row["model"]) for frame in stand.frames() for row in frame.rows()}
    assert models == {(0, "pump:1"), (1, "pump:2")}
