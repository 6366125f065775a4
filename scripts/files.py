"""Telemetry in CSV, Parquet and .npy files, as columns: for `feed`, `train` and `try` with the same options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet

from swapstream.models.errors import InvalidSettings
from swapstream.models.lineage import file_source
from swapstream.models.manifest import Source
from swapstream.operators.frame import Bool, Float64, Frame, Int64

MICROS = {"min": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
DEFAULT_START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
MAX_MICROS = 2**62


class Columns(msgspec.Struct, frozen=True):
    """Which columns of a file hold what.

    `time`, `device` and `label` are by default the columns of these names, where there are such and no field is called
    so. A time is a date and time (UTC if it names no zone) or a number of `time_unit` after `start` (microseconds since
    1970; None: 1970 itself); without one, row i is read i `time_unit` after `start` (None: DEFAULT_START). Without a device
    column every row is of `device_name`, by default the file's name up to its first dot. `fields` are the columns of the
    schema's fields in their order, by default the columns of the same names; ("*",) is every column with no other meaning.
    A .npy file's columns are called 0, 1, …
    """

    time: str | None = None
    time_unit: Literal["min", "s", "ms", "us"] = "s"
    device: str | None = None
    device_name: str | None = None
    label: str | None = None
    fields: tuple[str, ...] | None = None
    start: int | None = None


class Telemetry(msgspec.Struct, frozen=True):
    """A file's rows in their order: `times` event time int64[n] in microseconds, `values` float64[n, F], NaN where a cell is
    empty, `labels` bool[n], true where the row is a known anomaly, None if the file doesn't say."""

    devices: list[str]
    times: Int64
    values: Float64
    labels: Bool | None
    source: Source

    def __len__(self) -> int:
        return len(self.devices)

    def finite(self) -> Telemetry:
        """Without the rows that a job would send to dead letters, because a value is NaN or infinite."""
        keep = np.flatnonzero(np.isfinite(self.values).all(axis=1))
        labels = None if self.labels is None else self.labels[keep]
        return Telemetry([self.devices[i] for i in keep], self.times[keep], self.values[keep], labels, self.source)

    def frame(self) -> Frame:
        """All rows as one frame of partition 0: the row number as offset, event time as log time."""
        return Frame(0, np.arange(len(self)), self.times // 1_000, self.times, self.devices, self.values)


def read_telemetry(path: str | Path, names: Sequence[str], columns: Columns | None = None) -> Telemetry:
    """Read a CSV, Parquet or .npy file whose schema has the fields `names`. Raises InvalidSettings, naming file and column."""
    path, columns = Path(path), columns or Columns()
    there = column_names(path)
    time = _choose(path, "time", columns.time, there, names)
    device = None if columns.device_name else _choose(path, "device", columns.device, there, names)
    label = _choose(path, "label", columns.label, there, names)
    fields = _fields(path, there, names, columns.fields, {time, device, label})
    table = table_of(path, list(dict.fromkeys([*fields, *filter(None, (time, device, label))])))
    n = len(table)
    if n == 0:
        raise InvalidSettings(f"{path}: there are no rows, only names of columns")
    return Telemetry(
        devices_of(path, table, device) if device else [columns.device_name or path.name.split(".")[0]] * n,
        times_of(path, table[time], columns.time_unit, columns.start or 0) if time else _counted(columns, n),
        np.column_stack([_numbers(path, table[field]) for field in fields]),
        labels_of(path, table[label]) if label else None,
        file_source(path, n),
    )


def _counted(columns: Columns, n: int) -> Int64:
    start = DEFAULT_START if columns.start is None else columns.start
    return np.asarray(start + np.arange(n) * MICROS[columns.time_unit])


def _choose(path: Path, role: str, wanted: str | None, there: list[str], names: Sequence[str]) -> str | None:
    if wanted is None:
        return role if role in there and role not in names else None
    if wanted not in there:
        raise InvalidSettings(f"{path}: no {role} column {wanted!r}; there are {_listed(there)}")
    return wanted


def _fields(path: Path, there: list[str], names: Sequence[str], wanted: Sequence[str] | None,
            taken: set[str | None]) -> list[str]:
    fields = list(names if wanted is None else wanted)
    if fields == ["*"]:
        fields = [name for name in there if name not in taken]
    missing = [name for name in fields if name not in there]
    if missing:
        raise InvalidSettings(f"{path}: no column {_listed(missing)} for the schema's fields; there are {_listed(there)}")
    if len(fields) != len(names):
        raise InvalidSettings(f"{path}: {len(fields)} columns ({_listed(fields)}) for {len(names)} fields of the schema "
                              f"({_listed(names)})")
    return fields


def column_names(path: Path) -> list[str]:
    if not path.is_file():
        raise InvalidSettings(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
    with _one_line(path):
        if _is_parquet(path):
            return list(pyarrow.parquet.read_schema(path).names)
        if path.suffix == ".npy":
            return [str(name) for name in range(_array(path).shape[1])]
        return [str(name) for name in pandas.read_csv(path, nrows=0, sep=_separator(path)).columns]


def table_of(path: Path, columns: list[str]) -> Any:
    with _one_line(path):
        if _is_parquet(path):
            return pyarrow.parquet.read_table(path, columns=columns).to_pandas()
        if path.suffix == ".npy":
            return pandas.DataFrame({name: _array(path)[:, int(name)] for name in columns})
        # round_trip: pandas' faster parser is off by a bit now and then.
        return pandas.read_csv(path, usecols=columns, sep=_separator(path), float_precision="round_trip")


def _is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def _array(path: Path) -> Float64:
    """Numbers [n, columns], of which no more is read than is looked at. Raises ValueError."""
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.ndim not in (1, 2) or found.dtype.kind not in "fiub":
        told = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "several arrays"
        raise ValueError(f"holds {told}; allowed are numbers of shape (rows,) or (rows, columns)")
    return found.reshape(len(found), -1)


def _separator(path: Path) -> str:
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind not in ("csv", "tsv"):
        raise InvalidSettings(f"{path}: the file's name must end in .parquet, .pq, .npy, .csv, .tsv, .csv.gz or .tsv.gz")
    return "\t" if kind == "tsv" else ","


class _one_line:
    """What pandas and pyarrow raise inside becomes one line with the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError | EOFError | pyarrow.ArrowException):
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise InvalidSettings(f"{self._path}: {words[0]}") from error


def devices_of(path: Path, table: Any, name: str) -> list[str]:
    _check_filled(path, table[name], "device")
    return [str(value) for value in table[name].tolist()]


def _check_filled(path: Path, column: Any, what: str) -> None:
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        raise InvalidSettings(f"{path}: row {missing[0] + 1} has no {what} (column {column.name!r})")


def times_of(path: Path, column: Any, unit: str, start: int = 0) -> Int64:
    """Event times in µs: of dates and times, or of numbers of a unit after `start` (µs). Raises InvalidSettings."""
    _check_filled(path, column, "time")
    if pandas.api.types.is_integer_dtype(column):
        micros = np.array([max(-1, min(start + value * MICROS[unit], MAX_MICROS + 1)) for value in column.tolist()], np.int64)
    elif pandas.api.types.is_float_dtype(column):
        micros = np.rint(np.clip(start + column.to_numpy(np.float64) * MICROS[unit], -1.0, 1.5 * MAX_MICROS)).astype(np.int64)
    else:
        with _one_line(path):
            parsed = pandas.to_datetime(column, utc=True, format="ISO8601" if column.dtype == object else None)
            micros = parsed.dt.as_unit("us").astype(np.int64).to_numpy()
    wrong = np.flatnonzero((micros < 0) | (micros > MAX_MICROS))
    if len(wrong):
        raise InvalidSettings(f"{path}: row {wrong[0] + 1}: time {column.iloc[wrong[0]]} (column {column.name!r}) is "
                              f"before 1970 or too large for the unit {unit}")
    return micros


def _numbers(path: Path, column: Any) -> Float64:
    if pandas.api.types.is_numeric_dtype(column):
        return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    wrong = np.flatnonzero((pandas.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy())
    if len(wrong):
        raise InvalidSettings(f"{path}: row {wrong[0] + 1}: {column.iloc[wrong[0]]!r} in column {column.name!r} is not a "
                              "number")
    return np.asarray(pandas.to_numeric(column).to_numpy(np.float64))


def labels_of(path: Path, column: Any) -> Bool:
    return np.asarray(np.nan_to_num(_numbers(path, column)) != 0)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 12 else shown


def parse_start(text: str) -> int:
    """A date and time in ISO 8601 (UTC if it names no zone) or seconds since 1970 -> microseconds. Raises InvalidSettings."""
    try:
        if text.replace(".", "", 1).isdigit():
            micros = round(float(text) * 1_000_000)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            micros = round(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise InvalidSettings(f"start time {text!r} is neither ISO 8601 nor seconds since 1970") from error
    if not 0 <= micros <= MAX_MICROS:
        raise InvalidSettings(f"start time {text!r} is before 1970 or too large")
    return micros


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which columns of a file hold what. The command gets them as one argument, `columns`."""

    @click.option("--time", help="Column of the event time; by default 'time', else each row is a --time-unit later.")
    @click.option("--time-unit", type=click.Choice(list(MICROS)), default="s", show_default=True,
                  help="Of times that are numbers.")
    @click.option("--device", help="Column of the device's name; by default 'device'.")
    @click.option("--device-name", help="The device of every row, instead of a column; by default the file's name.")
    @click.option("--label", help="Column that is true (or not 0) for known anomalies; by default 'label'.")
    @click.option("--fields", help="Columns for the schema's fields, as a,b,c in their order, or * for all others.")
    @click.option("--start-time", help="From when times that are numbers, or rows without one, count: ISO 8601 or seconds since 1970.")
    @functools.wraps(command)
    def with_columns(*args: Any, time: str | None, time_unit: Any, device: str | None, device_name: str | None,
                     label: str | None, fields: str | None, start_time: str | None, **rest: Any) -> Any:
        chosen = None if fields is None else tuple(name.strip() for name in fields.split(","))
        start = None if start_time is None else parse_start(start_time)
        return command(*args, columns=Columns(time, time_unit, device, device_name, label, chosen, start), **rest)

    return with_columns
