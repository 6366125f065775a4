"""`export` over a past in memory: what a row says, where it comes from, what is refused, and that nothing is written by halves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from swapstream.models.errors import Conflict, InvalidSettings, UnknownName
from swapstream.models.schema import Field, Schema
from swapstream.operators.labels import DeviceSpan, Label, RecordId
from swapstream.operators.scores import decode_scores
from swapstream.scripts import exports
from swapstream.scripts.exports import OWN, read_about, read_tables
from swapstream.scripts.main import cli
from tests.support.broker import Broker
from tests.support.past import Past
from tests.support.shards import DEPLOYMENT, EWM, SCHEMAS, TOPIC, deployable

ARCHIVING = deployable("archiving", extractor=EWM)
DECOY = deployable("decoy", extractor=EWM, champion="b:1", challengers=("c:1",), decoy=True)
SCORING = deployable("scoring", extractor=EWM, champion="b:1")
FEATURES = ["temperature.ewm_residual", "pressure.ewm_residual", "temperature.ewm_deviation", "pressure.ewm_deviation"]


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    environment = tmp_path / "here.yaml"
    environment.write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", str(environment))
    monkeypatch.chdir(tmp_path)
    return Broker(monkeypatch)


def lived(*plans: Any, crash: float = 0.0) -> Past:
    """60 records under each plan."""
    past = Past(plans[0], *plans[1:])
    for plan in plans:
        past.swap(plan)
        past.readings(60)
    past.live(crash=crash, repeats=bool(crash))
    return past


def export(*options: str) -> Any:
    arguments = ["export", "--out", "out", "--deployment", DEPLOYMENT, *options]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done


def table() -> pandas.DataFrame:
    """By record."""
    about = read_about(Path("out"))
    found = pandas.concat([one.to_pandas() for one in read_tables(Path("out"), about)])
    return found.sort_values(["partition", "offset", "index"]).reset_index(drop=True)


def emitted(past: Past, role: str) -> pandas.DataFrame:
    """What was put out, row by row, each once."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for frame in (decode_scores(one.value) for one in past.emissions if one.role == role):
        features = np.frombuffer(frame.features, "<f8").reshape(len(frame), -1)
        said = {(row["offset"], row["index"]): row for row in frame.rows() if row["role"] == "champion"}
        for place, (offset, index) in enumerate(zip(frame.column("offsets").tolist(), frame.column("index").tolist(), strict=True)):
            device = frame.devices[np.frombuffer(frame.device, "<i4")[place]]
            rows[offset, index] = {"offset": offset, "index": index, "device": device, "warming": bool(frame.warming[place]),
                                   "features": features[place].tobytes(), **said.get((offset, index), {})}
    return pandas.DataFrame([rows[key] for key in sorted(rows)])


def bits(found: pandas.DataFrame) -> list[bytes]:
    return [row.tobytes() for row in found[FEATURES].to_numpy()]


@pytest.mark.parametrize("crash", [0.0, 0.2])
def test_rows_are_what_was_archived_beside_what_was_said(broker: Broker, crash: float) -> None:
    """Also where jobs repeated themselves (at least once)."""
    past = lived(ARCHIVING, DECOY, crash=crash)
    broker.live(past)
    broker.append("labels", Label(DeviceSpan("pump-1", 0, 10**9), kind="spike").encode())
    broker.append("labels", Label(RecordId(TOPIC, 0, past.log[5][0]), False).encode())
    done = export("--json")
    found, archived, scores = table(), emitted(past, "features"), emitted(past, "scores")
    assert found[["offset", "index", "device", "warming"]].equals(archived[["offset", "index", "device", "warming"]].astype(
        {"index": "int32"}))
    assert bits(found) == archived["features"].tolist()
    scored = found[found["score"].notna()]
    assert scored["score"].tolist() == scores["score"].tolist()
    assert scored["anomalous"].tolist() == scores["anomalous"].tolist()
    assert set(scored["model"]) == {"b:1"}
    assert set(scored["threshold"]) == set(scores["threshold"])
    assert found["label"].notna().tolist() == ((found.device == "pump-1") | (found.offset == past.log[5][0])).tolist()
    assert found["label"].dropna().eq(False).sum() == (found.offset == past.log[5][0]).sum()
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (row["rows"], row["scored"], row["source"], row["days"]) == (len(found), len(scored), "features", 1)
    assert list(found.columns) == [*OWN, *FEATURES]
    assert Path("out/day=1970-01-01/partition-0.parquet").is_file()
    assert pandas.read_parquet("out").shape == (len(found), len(OWN) + len(FEATURES) + 1)  # and the day


def test_telemetry_gives_the_same_bits_as_the_archive(broker: Broker) -> None:
    """From the middle on, from where the nearest snapshot is."""
    past = lived(DECOY)
    broker.live(past)
    middle = past.log[30][0]
    done = export("--source", "telemetry", "--from", str(middle))
    found = table()
    archived = emitted(past, "features")
    archived = archived[archived.offset >= middle]
    assert bits(found) == archived["features"].tolist()
    assert found["warming"].tolist() == archived["warming"].tolist()
    about = read_about(Path("out"))
    assert "warmed up" not in done.stderr
    assert (about.source, about.plans, about.features) == ("telemetry", (DECOY.digest,), tuple(FEATURES))


def test_without_a_snapshot_devices_warm_up_with_records_before(broker: Broker) -> None:
    past = lived(DECOY)
    broker.live(past)
    broker.logs["snapshots", 0].clear()
    middle = past.log[30][0]
    (row,) = [json.loads(line) for line in export("--source", "telemetry", "--from", str(middle), "--json").stdout.splitlines()]
    assert row["warmed_up"].startswith(f"with the {middle} records before the span in partition 0: no state that prod/")
    archived = emitted(past, "features")
    assert bits(table()) == archived[archived.offset >= middle]["features"].tolist()


def test_what_was_not_archived_is_computed(broker: Broker) -> None:
    past = lived(SCORING)
    broker.live(past)
    done = export()
    assert "computed from telemetry, under the plan in force" in done.stderr
    found = table()
    assert found["offset"].tolist() == emitted(past, "scores")["offset"].tolist()
    assert found["score"].tolist() == emitted(past, "scores")["score"].tolist()


@pytest.mark.parametrize(("plans", "options", "said"), [
    ((ARCHIVING,), (), None),
    ((DECOY, ARCHIVING), (), None),
    ((ARCHIVING, SCORING), (), "telemetry-0: readings from offset {} on are not archived, or not yet"),
    ((ARCHIVING, SCORING), ("--to", "7"), None),
])  # fmt: skip
def test_what_the_archive_has_not_is_said(broker: Broker, plans: Any, options: Any, said: str | None) -> None:
    past = lived(*plans)
    broker.live(past)
    lines = [line for line in export(*options).stderr.splitlines() if "archived" in line]
    assert lines == ([said.format(emitted(past, "scores")["offset"].iloc[0])] if said else [])


def test_a_span_has_its_ends(broker: Broker) -> None:
    past = lived(ARCHIVING)
    broker.live(past)
    first, last = past.log[20][0], past.log[40][0]
    export("--from", str(first), "--to", str(last))
    assert [found for found in emitted(past, "features")["offset"] if first <= found <= last] == table()["offset"].tolist()


def test_private_fields_are_left_out_of_both(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS, "pumps", Schema("pumps", (Field("temperature"), Field("pressure", private=True))))
    broker.live(lived(deployable("private", extractor=EWM, champion="p:1", decoy=True)))
    for source in ("features", "telemetry"):
        export("--source", source)
        about = read_about(Path("out"))
        assert about.features == ("temperature.ewm_residual", "temperature.ewm_deviation")
        assert about.left_out == ("pressure.ewm_residual", "pressure.ewm_deviation")
        Path("out").rename(source)


def test_a_feature_may_be_called_as_a_column(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS, "pumps", Schema("pumps", (Field("label"), Field("pressure"))))
    broker.live(lived(deployable("odd")))
    export()
    assert read_about(Path("out")).columns == ("feature.label", "pressure")
    assert table()["feature.label"].dtype == float


# -- what is refused


def refused(kind: type[Exception], said: str, *options: str) -> None:
    with pytest.raises(kind, match=said):
        export(*options)
    assert sorted(path.name for path in Path().iterdir() if "out" in path.name) == []


def test_what_retention_has_deleted_of_the_archive(broker: Broker) -> None:
    past = lived(ARCHIVING)
    broker.live(past)
    broker.delete_before("features", 3)
    left = decode_scores([one.value for one in past.emissions if one.role == "features"][3]).first
    refused(InvalidSettings, rf"features: retention has deleted a part .* the earliest offset that is left is {left} in partition 0",
            "--from", "0")  # fmt: skip
    export("--from", str(left))
    assert table()["offset"].iloc[0] == left


def test_what_retention_has_deleted_of_telemetry(broker: Broker) -> None:
    past = lived(SCORING)
    broker.live(past)
    first = past.log[20][0]
    broker.delete_before("telemetry", first)
    for start in ("0", "1970-01-01T00:00:01"):
        refused(InvalidSettings, rf"telemetry: retention has deleted .* the earliest offset that is left is {first} in partition 0",
                "--from", start)  # fmt: skip
    export("--from", str(first))
    assert table()["offset"].iloc[0] >= first


@pytest.mark.parametrize(("plans", "options", "kind", "said"), [
    ((SCORING,), ("--source", "features"), UnknownName, "nothing of the span was archived"),
    ((SCORING,), ("--from", "100000"), UnknownName, "no reading of schema 'pumps' lies in the span"),
    ((SCORING,), ("--from", "noon"), InvalidSettings, "neither an offset nor a time"),
    ((SCORING,), ("--schema", "fans"), InvalidSettings, "--schema is 'fans'; the plan's schemas are: pumps"),
    ((deployable("two", schema=("pumps", "fans")),), (), InvalidSettings, "has schemas pumps, fans: say with --schema"),
    ((ARCHIVING, deployable("other")), (), InvalidSettings, "on features are those of extractor identity:1:.*: export one span for each"),
])  # fmt: skip
def test_what_can_not_be(broker: Broker, plans: Any, options: Any, kind: Any, said: str) -> None:
    broker.live(lived(*plans))
    refused(kind, said, *options)


def test_a_deployment_that_nobody_knows(broker: Broker) -> None:
    refused(UnknownName, "no plan of prod/detect is known")


def test_nothing_is_overwritten(broker: Broker) -> None:
    broker.live(lived(ARCHIVING))
    Path("out").mkdir()
    (Path("out") / "mine").write_text("mine")
    with pytest.raises(Conflict, match="out is there already; allowed is a directory that is empty or not there"):
        export()
    assert [path.name for path in Path("out").iterdir()] == ["mine"]
    (Path("out") / "mine").unlink()
    export()
    assert len(table())


@pytest.mark.parametrize("fails", ["write_table", "close"])
def test_a_full_disk_leaves_nothing(broker: Broker, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    broker.live(lived(ARCHIVING))

    def full(*_: object) -> None:
        raise OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device")

    monkeypatch.setattr(exports.pyarrow.parquet.ParquetWriter, fails, full)
    refused(OSError, "No space left on device.*out")


def test_what_was_changed_since_is_not_read(broker: Broker) -> None:
    broker.live(lived(ARCHIVING))
    export()
    path = Path("out/day=1970-01-01/partition-0.parquet")
    about = read_about(Path("out"))
    changes: list[tuple[Callable[[], object], str]] = [
        (lambda: path.write_bytes(path.read_bytes()[:-1] + b"x"), "is not what was exported"), (path.unlink, "is missing"),
    ]
    for change, said in changes:
        change()
        with pytest.raises(InvalidSettings, match=said):
            list(read_tables(Path("out"), about))
    (Path("out") / "_export.json").write_text("{}")
    with pytest.raises(InvalidSettings, match=r"_export\.json: Object missing required field"):
        read_about(Path("out"))
