"""`swapstream label`: saying which records were anomalies, and which were none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.models.lineage import author
from swapstream.operators.labels import DeviceSpan, Label, RecordId, check
from swapstream.operators.token import is_token
from swapstream.scripts import kafka
from swapstream.scripts.bounds import bounds
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.files import MICROS, column_names, devices_of, labels_of, parse_start, table_of, times_of
from swapstream.scripts.reading import Reading

RECORD = re.compile(r"(\d{1,9}):(\d{1,18})(?:\[(\d{1,9})\])?")
NOTHING = RecordId("", 0, 0)
"""What a label is about that is only there to be like."""
LOOKED_AT = 1_000_000
"""So far apart offsets of a partition may lie for each to be looked at; of others it is only known that they are in the log."""


@click.command("label")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option("--record", "records", multiple=True, metavar="PARTITION:OFFSET[INDEX]", help="A record of telemetry, as `scores` shows it.")
@click.option("--device", help="A device, with --from and --to.")
@click.option("--from", "first", help="Event time of its first reading that is meant: ISO 8601, or seconds since 1970.")
@click.option("--to", "last", help="Event time of the last one.  [that of --from]")
@click.option("--normal", is_flag=True, help="They are no anomalies.")
@click.option("--kind", default="", help="Of what sort.")
@click.option("--time", "time_column", default="time", show_default=True, help="A file's column of event times.")
@click.option("--time-unit", type=click.Choice(list(MICROS)), default="s", show_default=True, help="Of a file's times that are numbers.")
@click.option("--start-time", help="From when these count: ISO 8601 or seconds since 1970.")
@json_option
@click.pass_obj
def label_command(name: str, files: Sequence[Path], records: Sequence[str], device: str | None, first: str | None, last: str | None,
                  normal: bool, kind: str, time_column: str, time_unit: str, start_time: str | None, as_json: bool) -> None:  # fmt: skip
    """Label records, a device over a span of event time, or what stands in FILEs (CSV or Parquet).

    A file's rows are records (columns partition, offset and perhaps index, as `export` writes them) or spans (device with first and
    last, or with time; without a column device they are of the one that the file is called after, as for `feed`); a column label says
    of each whether it is an anomaly, empty ones are passed over; kind may be one, too.

    Of several labels of a record the newest counts, and one of the record itself before one of a span. Saying it twice changes nothing.
    """
    environment = load_environment(name)
    topic = environment.topics.telemetry.name
    given = [bool(files), bool(records), device is not None]
    if sum(given) != 1 or (first is None) != (device is None) or (last is not None and device is None):
        raise InvalidSettings("label takes a file, --record, or --device with --from and perhaps --to")
    when, who = int(time.time() * 1_000), author()
    if files:
        times = TimeColumn(time_column, time_unit, parse_start(start_time or "0"))
        labels = [label for file in files for label in of_file(file, times, topic, Label(NOTHING, not normal, kind, (), when, who))]
    else:
        abouts: list[RecordId | DeviceSpan] = [record(text, topic) for text in records]
        abouts = abouts or [span(device or "", first or "", last)]
        labels = [check(Label(about, not normal, kind, (), when, who)) for about in abouts]
    refuse_unknown(environment, topic, [label.about for label in labels if isinstance(label.about, RecordId)])
    with kafka.Output(environment, environment.topics.labels.name) as output:
        for label in labels:
            output.send(label.key, label.encode())
    told = {"labels": len(labels), "anomalies": sum(label.label for label in labels), "who": who}
    show([told], list(told), as_json)


def record(text: str, topic: str) -> RecordId:
    """Raises InvalidSettings."""
    found = RECORD.fullmatch(text)
    if not found:
        raise InvalidSettings(f"record {text!r}: allowed is PARTITION:OFFSET, or PARTITION:OFFSET[INDEX], as in 0:1234 or 2:77[5]")
    return RecordId(topic, int(found[1]), int(found[2]), int(found[3] or 0))


def span(device: str, first: str, last: str | None) -> DeviceSpan:
    """Raises InvalidSettings."""
    begin = parse_start(first)
    return DeviceSpan(device, begin, begin if last is None else parse_start(last))


class TimeColumn(NamedTuple):
    """A file's column of event times, and what numbers in it count, from when on (µs)."""

    name: str = "time"
    unit: str = "s"
    start: int = 0


def of_file(path: Path, times: TimeColumn, topic: str, like: Label) -> list[Label]:
    """A label a row, otherwise `like` this one; a column overrides `label` or `kind`. Raises InvalidSettings, naming file and row."""
    there = column_names(path)
    wanted = _columns(path, there, times.name)
    table = table_of(path, [name for name in (*wanted, "device", "label", "kind") if name in there])
    if "label" in there:
        table = table[table["label"].notna()].reset_index(drop=True)
    said = labels_of(path, table["label"]) if "label" in there else np.full(len(table), like.label)
    kinds = table["kind"].fillna("").astype(str).tolist() if "kind" in there else [like.kind] * len(table)
    if "partition" in wanted:
        numbers = [_whole(path, table[name]) for name in wanted]
        abouts: Iterable[RecordId | DeviceSpan] = (RecordId(topic, *row) for row in zip(*numbers, strict=True))
    else:
        moments = [times_of(path, table[name], times.unit, times.start).tolist() for name in wanted]
        abouts = map(DeviceSpan, _devices(path, table), moments[0], moments[-1])
    return [check(msgspec.structs.replace(like, about=about, label=bool(one), kind=what))
            for about, one, what in zip(abouts, said, kinds, strict=True)]  # fmt: skip


def _columns(path: Path, there: Sequence[str], time: str) -> list[str]:
    """Those that say what is labelled, but for the device."""
    for names in (["partition", "offset", "index"], ["partition", "offset"], ["first", "last"], [time]):
        if set(names) <= set(there):
            return names
    raise InvalidSettings(f"{path}: columns are {', '.join(there[:12])}; needed are partition and offset (and index), or "
                          f"device with first and last, or with {time}")  # fmt: skip


def _devices(path: Path, table: Any) -> list[str]:
    """Of each row."""
    if "device" in table:
        return devices_of(path, table, "device")
    device = path.name.split(".")[0]
    say(f"{path}: no column device: its {len(table)} rows are of {device!r}")
    return [device] * len(table)


def _whole(path: Path, column: object) -> list[int]:
    numbers = np.asarray(column, np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.floor(numbers)) | (numbers < 0))
    if len(wrong):
        raise InvalidSettings(f"{path}: row {wrong[0] + 1}: {column.name} is {numbers[wrong[0]]:g}; allowed are numbers from 0 on")  # type: ignore[attr-defined]
    return [int(value) for value in column]  # type: ignore[attr-defined]


# -- records that nobody has written


def refuse_unknown(environment: Environment, topic: str, records: Sequence[RecordId]) -> None:
    """Raises UnknownName for the first of some records of telemetry that is none, as far as that can be told.

    What retention has deleted may have been one: scores and archived features outlast it.
    """
    if not records:
        return
    there = bounds(environment, topic)
    for one in records:
        if one.partition not in there:
            raise UnknownName(f"record {one}: {topic} has no partition {one.partition}; its partitions are 0 to {len(there) - 1}")
        if one.offset >= there[one.partition].end:
            raise UnknownName(f"record {one}: there is none, partition {one.partition} ends at offset {there[one.partition].end - 1}")
    for partition in sorted({one.partition for one in records}):
        wanted = {one.offset: one for one in records if one.partition == partition and one.offset >= there[partition].first}
        if wanted and max(wanted) - min(wanted) < LOOKED_AT:
            _look(environment, topic, partition, wanted)


def _look(environment: Environment, topic: str, partition: int, wanted: dict[int, RecordId]) -> None:
    left = dict(wanted)
    with Reading(environment, topic, {partition: min(wanted)}, {partition}) as reading:
        for found in iter(reading.next, None):
            if found.offset > max(wanted):
                break
            one = left.pop(found.offset, None)
            if one and is_token(found.value):
                raise UnknownName(f"record {one} is the token of a swap")
    if left:
        raise UnknownName(f"record {left[min(left)]}: there is none at this offset")
