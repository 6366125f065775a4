"""`label`: what it writes, and what it refuses before it writes anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from click.testing import CliRunner

from swapstream.models.errors import ClusterError, InvalidDefinition, InvalidSettings, UnknownName
from swapstream.operators.labels import DeviceSpan, Label, RecordId, parse
from swapstream.operators.token import FIRST_BYTE
from swapstream.scripts.environment import load_environment
from swapstream.scripts.labels import read_labels
from swapstream.scripts.main import cli
from tests.support.broker import Broker


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Telemetry of two partitions: in 0 offsets 5 to 9, a token among them, and no record at 8."""
    monkeypatch.chdir(tmp_path)
    Path("here.yaml").write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", "here.yaml")
    made = Broker(monkeypatch)
    for offset in (3, 4, 5, 6, 9):
        made.append("telemetry", b"{}", offset=offset)
    made.append("telemetry", FIRST_BYTE + b"token", offset=10)
    made.append("telemetry", b"{}", partition=1)
    made.delete_before("telemetry", 5)
    return made


def label(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, ["label", *arguments], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done


def written(broker: Broker) -> list[Label]:
    return [parse(one.value or b"", one.timestamp) for one in broker.logs["labels", 0]]


def test_records(broker: Broker) -> None:
    label("--record", "0:6", "--record", "1:0[3]", "--kind", "leak")
    found = written(broker)
    assert [one.about for one in found] == [RecordId("telemetry", 0, 6), RecordId("telemetry", 1, 0, 3)]
    assert {(one.label, one.kind) for one in found} == {(True, "leak")}
    assert all(one.who and one.when > 1_700_000_000_000 for one in found)
    assert [one.key for one in broker.logs["labels", 0]] == [b"telemetry/0", b"telemetry/1"]


def test_a_record_that_retention_has_deleted_may_be_labelled(broker: Broker) -> None:
    """Scores and archived features may outlast it."""
    label("--record", "0:3", "--normal")
    assert written(broker)[0].label is False


def test_a_span(broker: Broker) -> None:
    done = label("--device", "p-1", "--from", "1970-01-01T00:00:01", "--to", "2.5", "--json")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert written(broker)[0].about == DeviceSpan("p-1", 1_000_000, 2_500_000)
    assert (row["labels"], row["anomalies"]) == (1, 1)
    label("--device", "p-1", "--from", "7", "--normal")
    assert written(broker)[1].about == DeviceSpan("p-1", 7_000_000, 7_000_000)
    assert len(read_labels(load_environment("here.yaml"))) == 2


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_records(broker: Broker, suffix: str) -> None:
    """As an export has them: rows that nobody has labelled are passed over."""
    frame = pandas.DataFrame({"partition": [0, 0, 1], "offset": [5, 6, 0], "index": [0, 1, 0], "device": "d", "label": [True, None, False],
                              "kind": ["leak", "", None]})  # fmt: skip
    frame.to_csv("l.csv", index=False) if suffix == "csv" else frame.to_parquet("l.parquet")
    label(f"l.{suffix}")
    assert [(one.about, one.label, one.kind) for one in written(broker)] == [
        (RecordId("telemetry", 0, 5), True, "leak"), (RecordId("telemetry", 1, 0), False, "")]


def test_a_file_of_spans(broker: Broker) -> None:
    Path("l.csv").write_text("device,first,last\na,1,2\nb,3,4\n")
    label("l.csv", "--normal", "--time-unit", "ms")
    assert [(one.about, one.label) for one in written(broker)] == [
        (DeviceSpan("a", 1_000, 2_000), False), (DeviceSpan("b", 3_000, 4_000), False)]


def test_a_file_of_moments(broker: Broker) -> None:
    Path("l.csv").write_text("device,time,label\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:05Z,0\n")
    label("l.csv")
    assert [one.label for one in written(broker)] == [True, False]
    assert written(broker)[0].about == DeviceSpan("a", 1_767_225_600_000_000, 1_767_225_600_000_000)


def test_files_of_a_device_each_whose_times_count_from_a_start(broker: Broker) -> None:
    pandas.DataFrame({"minute": [0, 1], "c00": [0.5, 0.25], "label": [False, True]}).to_parquet("A-1.test.parquet")
    Path("A-2.csv").write_text("minute,label\n2,1\n")
    label("A-1.test.parquet", "A-2.csv", "--time", "minute", "--time-unit", "min", "--start-time", "1970-01-02")
    day = 86_400_000_000
    assert [(one.about, one.label) for one in written(broker)] == [
        (DeviceSpan("A-1", day, day), False), (DeviceSpan("A-1", day + 60_000_000, day + 60_000_000), True),
        (DeviceSpan("A-2", day + 120_000_000, day + 120_000_000), True)]
    Path("A-1.csv").write_text("first,last,kind\n3,4,leak\n")
    label("A-1.csv", "--time-unit", "min", "--start-time", "1970-01-02")
    assert written(broker)[-1].about == DeviceSpan("A-1", day + 180_000_000, day + 240_000_000)


def test_of_whom_a_file_without_devices_is(broker: Broker) -> None:
    Path("A-1.csv").write_text("first,last\n3,4\n")
    assert "A-1.csv: no column device: its 1 rows are of 'A-1'" in label("A-1.csv").stderr


@pytest.mark.parametrize(("arguments", "kind", "said"), [
    ((), InvalidSettings, "label takes a file, --record, or --device with --from"),
    (("--record", "0:5", "--device", "a", "--from", "1"), InvalidSettings, "label takes"),
    (("--device", "a"), InvalidSettings, "label takes"),
    (("--record", "5"), InvalidSettings, r"record '5': allowed is PARTITION:OFFSET"),
    (("--device", "a", "--from", "5", "--to", "4"), InvalidDefinition, "a span has a device, and ends when or after it begins"),
    (("--record", "0:5", "--record", "2:0"), UnknownName, "telemetry has no partition 2; its partitions are 0 to 1"),
    (("--record", "0:11"), UnknownName, "record telemetry-0:11: there is none, partition 0 ends at offset 10"),
    (("--record", "0:6", "--record", "0:8"), UnknownName, "record telemetry-0:8: there is none at this offset"),
    (("--record", "0:10[2]"), UnknownName, r"record telemetry-0:10\[2\] is the token of a swap"),
    (("no.csv",), InvalidSettings, "no such file"),
    (("wrong.csv",), InvalidSettings, "columns are a, b; needed are partition and offset"),
    (("wrong.csv", "--time", "when"), InvalidSettings, "columns are a, b; needed .* device with first and last, or with when"),
    (("good.csv", "wrong.csv"), InvalidSettings, "wrong.csv: columns are"),
    (("good.csv", "--device", "a", "--from", "1"), InvalidSettings, "label takes"),
    (("--record", "0:5", "--to", "1"), InvalidSettings, "label takes"),
    (("half.csv",), InvalidSettings, "row 2: offset is 6.5; allowed are numbers from 0 on"),
    (("empty.csv",), InvalidSettings, "row 1 has no time"),
])  # fmt: skip
def test_what_is_refused_writes_nothing(broker: Broker, arguments: tuple[str, ...], kind: Any, said: str) -> None:
    Path("good.csv").write_text("device,time\na,1\n")
    Path("wrong.csv").write_text("a,b\n1,2\n")
    Path("half.csv").write_text("partition,offset\n0,5\n0,6.5\n")
    Path("empty.csv").write_text("device,time\na,\n")
    with pytest.raises(kind, match=said):
        label(*arguments)
    assert written(broker) == []


def test_a_broker_that_refuses(broker: Broker) -> None:
    broker.refuses = "broker at x: user 'me' may not do that"
    with pytest.raises(ClusterError, match="may not do that"):
        label("--record", "0:5")


def test_what_is_no_label_is_said_and_passed_over(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    broker.append("labels", b"no label")
    broker.append("labels", Label(RecordId("telemetry", 0, 5)).encode())
    assert len(read_labels(load_environment("here.yaml"))) == 1
    assert "labels 0:0: not a label" in capsys.readouterr().err
