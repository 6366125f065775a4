"""From the stream to a better model and back, on a running cluster: the README's section as it stands there."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas
import pytest

from swapstream.operators.scores import decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.exports import read_about
from tests.docs.markdown import ROOT, blocks, section
from tests.docs.tour import BLOCKS, run, steps

from .local import COMMAND
from .support import Place, Stand, readings, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.long]
HEADING = "From the stream to a better model"
DEPLOYMENT = "mill"


def archived(stand: Stand) -> Counter[Place]:
    """How often each record is in `features`, for a read_committed reader."""
    found = kafka.read_to_end(stand.environment, stand.environment.topics.features.name)
    frames = [decode_scores(record.value or b"") for record in found]
    return Counter((frame.provenance.partition, offset) for frame in frames for offset in frame.column("offsets").tolist())


def test_the_readmes_section_runs_as_it_stands(cluster: Path, tmp_path: Path) -> None:
    stand, here = Stand(cluster, tmp_path, "scientist"), tmp_path / "here"
    here.mkdir()
    printed: dict[str, str] = {}
    found = [step for step in steps() if step[1].startswith("cat > pump.yaml")]
    assert found, BLOCKS
    for command, text in [*found, *steps(blocks(section((ROOT / "README.md").read_text(), HEADING)))]:
        if command == "export":
            wait_until(lambda: set(readings(stand.telemetry())) <= archived(stand).keys(), 60, "every reading is archived")
        if text == "swapstream models history mill":
            told = set(readings(stand.telemetry()))
            wait_until(lambda told=told: told <= archived(stand).keys(), 60, "every reading is archived")
        if text.startswith("swapstream models gc"):
            continue  # it refuses, as it must: deployments of other tests share the directory, and their plans lie in topics of their own
        topic = stand.environment.topics.telemetry.name  # a stand's topics are called after it
        printed[text] = run(here, stand.path, command, text.replace("--topic telemetry", f"--topic {topic}"))
    check_export(stand, here)
    check_history(stand)
    assert max(archived(stand).values()) == 1
    assert sum(text.startswith("swapstream swap") and output.count("activated") == 4 for text, output in printed.items()) == 2
    assert stand.rows("verify", "--deployment", DEPLOYMENT)[0]["differs"] == 0
    stand.run("cancel", DEPLOYMENT)


def check_export(stand: Stand, here: Path) -> None:
    """Bit for bit what the pure core makes of telemetry; labels of the simulation's faults are in it."""
    about = read_about(here / "features")
    assert about.rows == 20_000
    last = max(part.last for part in about.slices)
    stand.run("export", "--deployment", DEPLOYMENT, "--source", "telemetry", "--to", str(last), "--out", here / "again")
    tables = []
    for name in ("features", "again"):
        table = pandas.read_parquet(here / name).sort_values(["partition", "offset"]).reset_index(drop=True)
        tables.append(table[table.offset <= min(part.last for part in about.slices)].reset_index(drop=True))
    archive, computed = tables
    keys = ["partition", "offset", "device", "time", "warming"]
    assert archive[keys].equals(computed[keys])
    assert archive[list(about.columns)].to_numpy().tobytes() == computed[list(about.columns)].to_numpy().tobytes()
    assert archive["label"].sum() > 0
    assert archive["score"].isna().all()


def check_history(stand: Stand) -> None:
    """What the registry says of both versions is what is in `scores`."""
    rows = {row["model"]: row for row in stand.rows("models", "history", "mill") if row.get("role") == "champion"}
    scored: dict[str, list[float]] = {}
    for frame in stand.frames():
        for role in frame.roles:
            scored.setdefault(role.model, []).extend(np.frombuffer(role.scores, "<f8").tolist())
    assert rows.keys() == scored.keys() == {"mill:1", "mill:2"}
    assert [(rows[f"mill:{n}"]["records"], rows[f"mill:{n}"]["epochs"]) for n in (1, 2)] == [
        (len(scored["mill:1"]), [1]), (len(scored["mill:2"]), [2])]
    assert rows["mill:1"]["p95"] == pytest.approx(np.quantile(scored["mill:1"], 0.95))
    assert rows["mill:1"]["why"] == "the first model"
    assert rows["mill:1"]["to"] == rows["mill:2"]["from"]
    assert (rows["mill:1"]["anomalies"] > 0, rows["mill:2"]["parent"]) == (True, "mill:1")
    assert json.loads(stand.run("models", "show", "mill:2", "--json"))["lineage"]["settings"]["fit"] == "fits.py:fit"


def test_training_goes_on_and_makes_challengers(cluster: Path, tmp_path: Path) -> None:
    """On a clock, until Ctrl-C, each in the place of the one before; and on drift. The champion stays what it was."""
    stand = Stand(cluster, tmp_path, "onward")
    (tmp_path / "pump.yaml").write_text("fields: [temperature, pressure, flow, vibration]\ncodec: json\n")
    simulate = ["simulate", "--schema", tmp_path / "pump.yaml", "--count", "6000", "--rate", "0", "--faults", "none"]
    stand.run(*simulate, "--seed", "1", "--out", tmp_path / "healthy.parquet")
    plan = stand.plan("plan", tmp_path / "pump.yaml", ["identity"], "onward:1")
    stand.run("train", "zscore", tmp_path / "healthy.parquet", "--plan", plan, "--name", "onward")
    stand.run("submit", "detect", "--plan", plan, "--start", "earliest")
    stand.run(*simulate, "--seed", "1")
    stand.settle()
    topic = stand.environment.topics.telemetry.name
    again = ["train", "zscore", "--topic", topic, "--deployment", stand.name, "--name", "onward"]
    with going(stand, *again, "--last", "24h", "--every", "3s") as said:
        wait_until(lambda: len(accepted(stand)) >= 2, 120, "two challengers are accepted", 1.0)
    assert "not this time" not in said(), said()
    count = len(accepted(stand))
    shifted = pandas.read_parquet(tmp_path / "healthy.parquet").assign(temperature=lambda table: table["temperature"] + 500)
    shifted.to_parquet(tmp_path / "shifted.parquet")
    stand.run("feed", tmp_path / "shifted.parquet", "--schema", tmp_path / "pump.yaml")
    stand.settle()
    with going(stand, *again, "--on-drift") as said:
        wait_until(lambda: len(accepted(stand)) > count, 120, "drift has made a challenger", 1.0)
    assert "above 0.25" in said()
    stand.run(*simulate, "--seed", "9")
    stand.settle()
    frames = stand.frames()
    assert {role.model for frame in frames for role in frame.roles if role.role == "champion"} == {"onward:1"}
    newest = max(frames, key=lambda frame: frame.provenance.epoch)
    assert [(role.role, role.model) for role in newest.roles] == [("champion", "onward:1"), ("challenger", accepted(stand)[-1])]
    lives = [row for row in stand.rows("models", "history", "onward") if row.get("role")]
    assert {row["role"] for row in lives if row["model"] != "onward:1"} == {"challenger"}
    stand.cancel()


def accepted(stand: Stand) -> list[str]:
    """Challengers that came into force."""
    rows = [row for row in stand.messages("ledger") if row["event"] == "accepted"]
    return [row["reason"].split()[1].rstrip(",") for row in rows if row.get("reason", "").startswith("challenger ")]


@contextmanager
def going(stand: Stand, *arguments: str) -> Iterator[Callable[[], str]]:
    """A command that goes on until it is interrupted, at the end; what it has said."""
    words = stand.directory / "words"
    with words.open("w") as file:
        process = subprocess.Popen([COMMAND, "--env", str(stand.path), *arguments], stdout=file, stderr=subprocess.STDOUT)
    try:
        yield words.read_text
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, words.read_text()
