"""Telemetry files: which column is what, exact numbers, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from swapstream.models.errors import InvalidSettings
from swapstream.scripts.files import DEFAULT_START, Columns, Telemetry, parse_start, read_telemetry

TABLE = {"time": [10, 11, 13], "device": ["a", "b", "a"], "x": [0.1, 1e-300, 3.0], "y": [1, 2, 3], "label": [0, 0, 1]}


def save(folder: Path, suffix: str = "parquet", **changes: object) -> Path:
    columns = {name: values for name, values in (TABLE | changes).items() if values is not None}
    path = folder / f"pump.day1.{suffix}"
    table = pandas.DataFrame(columns)
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if "tsv" in suffix else ",")
    return path


def read(path: Path, *names: str, **columns: object) -> Telemetry:
    return read_telemetry(path, names or ("x", "y"), Columns(**columns))  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "csv.gz"])
def test_columns_of_the_usual_names_need_no_options(tmp_path: Path, suffix: str) -> None:
    found = read(save(tmp_path, suffix))
    assert found.devices == ["a", "b", "a"]
    assert found.times.tolist() == [10_000_000, 11_000_000, 13_000_000]
    assert found.values.tolist() == [[0.1, 1.0], [1e-300, 2.0], [3.0, 3.0]]
    assert found.labels is not None
    assert found.labels.tolist() == [False, False, True]
    assert (found.source.rows, found.source.name, len(found.source.sha256)) == (3, f"pump.day1.{suffix}", 64)


def test_without_these_columns_rows_are_seconds_of_one_device(tmp_path: Path) -> None:
    found = read(save(tmp_path, time=None, device=None, label=None))
    assert found.devices == ["pump"] * 3
    assert found.times.tolist() == [DEFAULT_START, DEFAULT_START + 1_000_000, DEFAULT_START + 2_000_000]
    assert found.labels is None


def test_a_field_may_be_called_like_a_default(tmp_path: Path) -> None:
    found = read(save(tmp_path), "label", "time")
    assert found.values.tolist() == [[0, 10], [0, 11], [1, 13]]
    assert found.labels is None
    assert found.times[0] == DEFAULT_START


def test_fields_are_chosen_by_their_order(tmp_path: Path) -> None:
    path = save(tmp_path)
    assert read(path, "first", "second", fields=("y", "x")).values[0].tolist() == [1.0, 0.1]
    assert read(path, "first", "second", fields=("*",)).values[0].tolist() == [0.1, 1.0]


@pytest.mark.parametrize(("times", "unit", "micros"), [
    ([1, 2, 3], "min", [60_000_000, 120_000_000, 180_000_000]),
    ([0.5, 1.0, 1.0000004], "s", [500_000, 1_000_000, 1_000_000]),
    (["2026-01-01T00:00:00Z", "2026-01-01 01:00:00.5+01:00", "2026-01-01"], "s",
     [DEFAULT_START, DEFAULT_START + 500_000, DEFAULT_START]),
    (pandas.to_datetime(["1970-01-01", "1970-01-02", "1970-01-03"]).astype("datetime64[ms]"), "s",
     [0, 86_400_000_000, 172_800_000_000]),
])
def test_times_are_numbers_of_a_unit_or_dates(tmp_path: Path, times: object, unit: str, micros: list[int]) -> None:
    assert read(save(tmp_path, time=times), time_unit=unit).times.tolist() == micros


def test_numbers_count_from_a_start(tmp_path: Path) -> None:
    path = save(tmp_path, time=[0, 1, 2.5])
    assert read(path, time_unit="min", start=DEFAULT_START).times.tolist() == [DEFAULT_START + n for n in (0, 60_000_000, 150_000_000)]
    path = save(tmp_path, time=[0, -1, 7])
    assert read(path, time_unit="s", start=DEFAULT_START).times.tolist() == [DEFAULT_START + n * 1_000_000 for n in (0, -1, 7)]
    path = save(tmp_path, time=["2026-01-01", "2026-01-02", "2026-01-03"])
    assert read(path, start=5).times[0] == DEFAULT_START
    path = save(tmp_path, time=None)
    assert read(path, time_unit="min", start=5).times.tolist() == [5, 60_000_005, 120_000_005]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "?"])
def test_an_array_of_numbers(tmp_path: Path, dtype: str) -> None:
    rows = np.arange(6).reshape(3, 2).astype(dtype)
    np.save(tmp_path / "A-1.npy", rows)
    np.save(tmp_path / "line.npy", rows[:, 0])
    found = read(tmp_path / "A-1.npy", "x", "y", fields=("*",), time_unit="min", start=0)
    assert found.values.tolist() == rows.astype(float).tolist()
    assert (found.devices, found.times.tolist()) == (["A-1"] * 3, [0, 60_000_000, 120_000_000])
    assert read(tmp_path / "A-1.npy", "x", fields=("1",)).values.tolist() == rows[:, 1:].astype(float).tolist()
    assert read(tmp_path / "line.npy", "x", fields=("*",)).values.tolist() == rows[:, :1].astype(float).tolist()


@pytest.mark.parametrize(("array", "words"), [
    (np.zeros((2, 3, 4)), "holds float64 of shape (2, 3, 4); allowed are numbers"),
    (np.array(["a", "b"]), "holds <U1 of shape (2,); allowed are numbers"),
    (np.array([{}, []], object), "Python objects"),
])
def test_other_arrays_are_one_line(tmp_path: Path, array: object, words: str) -> None:
    np.save(tmp_path / "a.npy", array)  # type: ignore[arg-type]
    with pytest.raises(InvalidSettings) as error:
        read(tmp_path / "a.npy", "x", fields=("*",))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_empty_cells_are_nan_and_can_be_left_out(tmp_path: Path) -> None:
    found = read(save(tmp_path, "csv", x=[0.1, None, 3.0], y=[1.0, 2.0, np.inf]))
    assert np.isnan(found.values[1, 0])
    left = found.finite()
    assert (left.devices, left.times.tolist(), left.values.tolist()) == (["a"], [10_000_000], [[0.1, 1.0]])
    assert left.labels is not None
    assert left.labels.tolist() == [False]


@pytest.mark.parametrize(("changes", "names", "columns", "words"), [
    ({}, ("x", "z"), {}, "no column z for the schema's fields; there are time, device, x, y, label"),
    ({}, ("x",), {"fields": ("x", "y")}, "2 columns (x, y) for 1 fields"),
    ({}, ("x",), {"time": "clock"}, "no time column 'clock'"),
    ({}, ("x",), {"device": "who"}, "no device column 'who'"),
    ({}, ("x",), {"label": "truth"}, "no label column 'truth'"),
    ({"x": ["1", "two", "3"]}, ("x",), {}, "row 2: 'two' in column 'x' is not a number"),
    ({"time": [1, -1, 2]}, ("x",), {}, "row 2: time -1"),
    ({"time": [1, 2, 10**13]}, ("x",), {}, "row 3: time 10000000000000"),
    ({"time": ["soon", "now", "later"]}, ("x",), {}, "soon"),
    ({"time": [1.0, None, 2.0]}, ("x",), {}, "row 2 has no time"),
    ({"device": ["a", None, "b"]}, ("x",), {}, "row 2 has no device"),
])
def test_what_is_wrong_is_one_line(tmp_path: Path, changes: dict[str, object], names: tuple[str, ...],
                                   columns: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        read(save(tmp_path, "csv", **changes), *names, **columns)
    assert words in str(error.value)
    assert "pump.day1.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.npy", "a.xlsx", "a.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", None])
def test_files_that_are_none_are_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSettings, match=name) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_start_time_is_a_date_or_seconds() -> None:
    assert parse_start("2026-01-01") == parse_start("2026-01-01T01:00+01:00") == parse_start("1767225600") == DEFAULT_START
    assert parse_start("0.5") == 500_000


@pytest.mark.parametrize("text", ["soon", "-1", "1960-01-01", "9" * 30, ""])
def test_other_start_times_are_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="start time"):
        parse_start(text)
