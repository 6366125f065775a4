"""Pure parts of `feed` and of `anomalies` and `scores`: spans of labels, and lines for people."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.jobs.partitioner import partition_of
from swapstream.models.errors import InvalidDefinition, InvalidSettings
from swapstream.models.manifest import Source
from swapstream.models.schema import Field, Schema
from swapstream.operators.anomalies import Anomaly
from swapstream.operators.labels import parse
from swapstream.scripts.feed import far_from, head, packed, spans
from swapstream.scripts.files import Telemetry
from swapstream.scripts.follow import ANOMALIES, anomaly_rows, print_rows
from swapstream.scripts.main import cli
from swapstream.scripts.messages import Packer
from tests.support.broker import Broker

ANOMALY = Anomaly(device="e-1", time=1_500_000, at="", score=3.25, threshold=1.0, values={"x": 1.0},
                  contributions={"x": 2.0, "y": -0.5}, model="m:1", digest="", plan="p", plan_digest="", epoch=2,
                  extractor="identity", namespace="prod", deployment="d", topic="telemetry", partition=3, offset=17)


def telemetry(devices: str, labels: list[int] | None) -> Telemetry:
    n = len(devices)
    found = None if labels is None else np.array(labels, bool)
    return Telemetry(list(devices), np.arange(n) * 10, np.zeros((n, 1)), found, Source("file", "f", "", n))


def test_consecutive_labelled_rows_of_a_device_are_one_span() -> None:
    found = spans(telemetry("aabbaaab", [1, 1, 1, 0, 1, 0, 1, 1]))
    assert [span.about for span in found] == [
        ("a", 0, 40), ("a", 60, 60), ("b", 20, 20), ("b", 70, 70)]


def test_without_labels_there_are_no_spans() -> None:
    assert spans(telemetry("ab", None)) == spans(telemetry("ab", [0, 0])) == spans(telemetry("", [])) == []


def test_several_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are called after the files; one that can't be read keeps all of them back."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.yaml").write_text(f"directory: {tmp_path}\n")
    (tmp_path / "s.yaml").write_text("fields: [x]\ncodec: json\n")
    (tmp_path / "a.csv").write_text("minute,x,label\n0,1.5,0\n1,2.5,1\n")
    (tmp_path / "b.csv").write_text("minute,x,label\n0,7,1\n")
    (tmp_path / "c.csv").write_text("minute,y\n0,7\n")
    broker = Broker(monkeypatch)
    times = ["--time", "minute", "--time-unit", "min", "--start-time", "5"]
    given = ["--env", "here.yaml", "feed", "a.csv", "b.csv", "--schema", "s.yaml", *times]
    with pytest.raises(InvalidSettings, match=r"c\.csv: no column x"):
        CliRunner().invoke(cli, [*given, "c.csv"], standalone_mode=False, catch_exceptions=False)
    assert not any(broker.logs.values())
    done = CliRunner().invoke(cli, [*given, "--no-labels", "--json"], standalone_mode=False, catch_exceptions=False)
    sent = [json.loads(one.value or b"") for (topic, _), log in broker.logs.items() for one in log if topic == "telemetry"]
    assert sorted((one["device"], one["time"], *one["values"]) for one in sent) == [("a", 5_000, 1.5), ("a", 65_000, 2.5), ("b", 5_000, 7)]
    assert not broker.logs["labels", 0]
    assert {key: json.loads(done.stdout)[key] for key in ("sent", "devices", "labels")} == {"sent": 3, "devices": 2, "labels": 0}
    CliRunner().invoke(cli, given, standalone_mode=False, catch_exceptions=False)
    labels = [parse(one.value or b"", 0).about for one in broker.logs["labels", 0]]
    assert labels == [("a", 65_000_000, 65_000_000), ("b", 5_000_000, 5_000_000)]


def test_only_the_first_rows() -> None:
    first = head(telemetry("abc", [0, 1, 1]), 2)
    assert (first.devices, len(first.times), len(first.values), len(spans(first))) == (["a", "b"], 2, 2, 1)


def test_rows_that_the_job_will_not_take_are_counted() -> None:
    schema = Schema("s", (Field("x"),), max_ahead="1s", max_behind="1min")
    times = np.array([0, 1_000_000, 39_999_999, 40_000_000, 101_000_000, 101_000_001])
    assert far_from(times, schema, 100_000) == 4
    assert far_from(times, Schema("s", (Field("x"),)), 0) == 0


def test_a_file_becomes_columnar_messages() -> None:
    schema = Schema("s", (Field("x"),), layout="columnar")
    batches = list(packed(telemetry("abaab", None), Packer(schema, 2)))
    assert [[(message.key, message.readings) for message in batch] for batch in batches] == [
        [(b"a", 2), (b"b", 2)], [(b"a", 1)]]


def test_a_reading_among_others_is_known_by_its_index(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(anomaly_rows(msgspec.structs.replace(ANOMALY, index=4).encode()), ANOMALIES, as_json=False)
    assert "3:17[4]" in capsys.readouterr().out


def test_an_anomaly_is_a_line_under_a_heading_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(anomaly_rows(ANOMALY.encode()))
    print_rows(rows, ANOMALIES, as_json=False)
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["time", "device", "score"]
    assert line.split() == ["1970-01-01", "00:00:01.500", "e-1", "3.25", "1", "m:1", "2", "3:17", "x", "+2,", "y", "-0.5"]
    print_rows(rows, ANOMALIES, as_json=True)
    assert '"offset": 17' in capsys.readouterr().out


@pytest.mark.parametrize("value", [b"", b"\xc1", b"{}", b"\x80"])
def test_a_message_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidDefinition):
        list(anomaly_rows(value))


@pytest.mark.parametrize(("key", "hashed"), [
    (b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829), (b"abc", 479470107),
])
def test_keys_go_where_javas_clients_put_them(key: bytes, hashed: int) -> None:
    """The vectors are those of Kafka's own UtilsTest."""
    assert [partition_of(key, n) for n in (1, 4, 1_000)] == [(hashed & 0x7FFFFFFF) % n for n in (1, 4, 1_000)]
