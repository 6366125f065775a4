"""An export: a directory of Parquet files by day, and `_export.json`, which says what they are of. Written whole or not at all.

    day=2026-11-21/partition-0.parquet       the readings of one partition whose event time is of that day (UTC), in the log's order

A reader that knows hive partitions (pandas, DuckDB, Spark) takes the directory; what begins with an underscore it passes over.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow
import pyarrow.parquet

from swapstream.models.errors import Conflict, InvalidDefinition, InvalidSettings
from swapstream.operators.batches import Batch
from swapstream.operators.frame import Bool, Float64, Int64
from swapstream.operators.wire import check_version

VERSION = 1
ABOUT = "_export.json"
DAY = 86_400_000_000
Names = np.ndarray[Any, np.dtype[np.object_]]
AT_ONCE = 100_000
"""Rows of a row group, more or less."""

OWN = {
    "topic": pyarrow.string(), "partition": pyarrow.int32(), "offset": pyarrow.int64(), "index": pyarrow.int32(),
    "device": pyarrow.string(), "time": pyarrow.timestamp("us", "UTC"), "warming": pyarrow.bool_(), "label": pyarrow.bool_(),
    "score": pyarrow.float64(), "threshold": pyarrow.float64(), "anomalous": pyarrow.bool_(), "model": pyarrow.string(),
}  # fmt: skip
"""The columns that every export has. `label` is null where nobody said anything; `score` and what follows it where nobody scored."""


class Slice(msgspec.Struct, frozen=True):
    """What there is of a partition: from the first to the last offset that gave a row."""

    partition: int
    first: int
    last: int
    rows: int


class About(msgspec.Struct, frozen=True):
    """What an export is of. `source`: out of the archive, or computed from telemetry. `shape`: (T, F) of features that are windows;
    `left_out`: features of private fields; `columns`: those of `features`, in their order; `plans`: the digests of those that the
    features were made under; `files`: sha256 by path."""

    namespace: str
    deployment: str
    topic: str
    schema: str
    source: Literal["features", "telemetry"]
    extractor: str
    features: tuple[str, ...]
    shape: tuple[int, ...]
    left_out: tuple[str, ...]
    columns: tuple[str, ...]
    plans: tuple[str, ...]
    slices: tuple[Slice, ...]
    labelled: int
    anomalies: int
    scored: int
    created: str
    files: dict[str, str] = {}
    v: int = VERSION

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.slices)


class Answers(msgspec.Struct, frozen=True):
    """What the deciding model, by its name:version, said of n readings: NaN, "" and False where nobody scored them."""

    scores: Float64
    thresholds: Float64
    models: Names
    anomalous: Bool


def column_of(feature: str) -> str:
    """A feature's column: its name, unless that is one of the export's own."""
    return f"feature.{feature}" if feature in OWN else feature


def table_of(batch: Batch, topic: str, labels: tuple[Bool, Bool], answers: Answers) -> pyarrow.Table:
    """The rows of a batch."""
    n, (there, anomalous) = len(batch), labels
    unscored = ~np.isfinite(answers.scores)
    own: dict[str, Any] = {
        "topic": pyarrow.repeat(pyarrow.scalar(topic), n), "partition": np.full(n, batch.partition), "offset": batch.offsets,
        "index": batch.index,
        "device": pyarrow.array(batch.devices, pyarrow.string()).take(pyarrow.array(batch.device)), "time": batch.times,
        "warming": batch.warming, "label": pyarrow.array(anomalous, mask=~there),
        "score": pyarrow.array(answers.scores, mask=unscored), "threshold": pyarrow.array(answers.thresholds, mask=unscored),
        "anomalous": pyarrow.array(answers.anomalous, mask=unscored),
        "model": pyarrow.array(answers.models, pyarrow.string(), mask=unscored),
    }  # fmt: skip
    arrays = {name: (one if isinstance(one := own[name], pyarrow.Array) else pyarrow.array(one)).cast(kind) for name, kind in OWN.items()}
    features = {column_of(name): batch.features[:, place] for place, name in enumerate(batch.made.features)}
    return pyarrow.table(arrays | {name: np.ascontiguousarray(array) for name, array in features.items()})


class Writer:
    """Writes an export beside its place, and moves it there when it is whole. A context manager; left by an error it leaves nothing.

    Raises Conflict where something is there already, OSError where it can't be written.
    """

    def __init__(self, target: Path) -> None:
        if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
            raise Conflict(f"{target} is there already; allowed is a directory that is empty or not there")
        self.target = target
        self._waiting: list[pyarrow.Table] = []
        self._days: list[Int64] = []
        self._open: dict[int, Any] = {}
        self._partition = -1
        self.files: dict[str, str] = {}

    def __enter__(self) -> Writer:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.", dir=self.target.parent))
        self._folder.chmod(0o755)  # mkdtemp's would be the owner's alone
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._folder.exists():
            for writer in self._open.values():
                with suppress(OSError, pyarrow.ArrowException):
                    writer.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        if isinstance(error, OSError) and not error.filename:  # pyarrow's name none
            raise OSError(error.errno or 5, str(error.strerror or error), str(self.target)) from error

    def add(self, partition: int, table: pyarrow.Table, times: Int64) -> None:
        """Rows of a partition, whose event times are `times`; all of one partition before those of the next."""
        if partition != self._partition:
            self._close()
            self._partition = partition
        self._waiting.append(table)
        self._days.append(times // DAY)
        if sum(map(len, self._days)) >= AT_ONCE:
            self._flush()

    def finish(self, about: About) -> About:
        """Everything has been added: the export takes its place. Returns what it says of itself."""
        self._close()
        made = msgspec.structs.replace(about, files=self.files)
        (self._folder / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
        self._folder.rename(self.target)
        return made

    def finish_alone(self) -> int:
        """The same of files that nothing is said of. Returns how many there are."""
        self._close()
        self._folder.rename(self.target)
        return len(self.files)

    def _flush(self) -> None:
        if not self._waiting:
            return
        table, days = pyarrow.concat_tables(self._waiting), np.concatenate(self._days)
        self._waiting, self._days = [], []
        for day in np.unique(days).tolist():
            if day not in self._open:
                path = self._folder / self._path(day)
                path.parent.mkdir(exist_ok=True)
                self._open[day] = pyarrow.parquet.ParquetWriter(path, table.schema)
            self._open[day].write_table(table.filter(pyarrow.array(days == day)))

    def _close(self) -> None:
        self._flush()
        for day, writer in self._open.items():
            writer.close()
            self.files[self._path(day)] = digest_of(self._folder / self._path(day))
        self._open = {}

    def _path(self, day: int) -> str:
        date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date()
        return f"day={date.isoformat()}/partition-{self._partition}.parquet"


def read_about(folder: Path) -> About:
    """What an export is of. Raises InvalidSettings for a directory that is none."""
    path = folder / ABOUT
    if not path.is_file():
        raise InvalidSettings(f"{folder} is a directory and no export: there is no {ABOUT} in it")
    try:
        found = msgspec.json.decode(path.read_bytes(), type=About)
        check_version(found.v, VERSION, InvalidDefinition, "an export")
    except (msgspec.DecodeError, InvalidDefinition) as error:
        raise InvalidSettings(f"{path}: {error}") from error
    return found


def read_tables(folder: Path, about: About) -> Iterator[pyarrow.Table]:
    """The files of an export, by day and partition. Raises InvalidSettings where one is not what was written."""
    for name, digest in sorted(about.files.items()):
        path = folder / name
        if not path.is_file() or digest_of(path) != digest:
            raise InvalidSettings(f"{path} is {'not what was exported' if path.exists() else 'missing'}: export the span again")
        yield pyarrow.parquet.read_table(path, partitioning=None)


def digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unscored(n: int) -> Answers:
    """Of n readings that nobody scored."""
    return Answers(np.full(n, np.nan), np.full(n, np.nan), np.full(n, "", np.object_), np.zeros(n, np.bool_))


def counted(slices: Mapping[int, list[Int64]]) -> tuple[Slice, ...]:
    """Of each partition the offsets of its rows, in order."""
    return tuple(
        Slice(partition, int(parts[0][0]), int(parts[-1][-1]), sum(map(len, parts))) for partition, parts in sorted(slices.items())
    )
