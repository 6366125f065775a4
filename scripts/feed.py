"""`swapstream feed`: the rows of files as telemetry, at their own speed or faster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np

from swapstream.models.schema import Schema, tick
from swapstream.operators.frame import Bool, Int64
from swapstream.operators.labels import DeviceSpan, Label
from swapstream.operators.times import Times
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.console import json_option, progress, say, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.files import Columns, Telemetry, file_options, read_telemetry
from swapstream.scripts.kafka import Output
from swapstream.scripts.messages import Message, Packer, readings_option
from swapstream.scripts.pacing import Pacer

CHUNK = 10_000


def send(telemetry: Telemetry, packer: Packer, environment: Environment, speed: float) -> Iterator[int]:
    """Send a file's rows in their order, keyed by device, after its labels; yields how many are sent.

    Rows with a value that is not finite are sent as they are: the job puts them into dead letters.
    """
    topics, pacer, sent = environment.topics, Pacer(speed), 0
    with Output(environment, topics.labels.name) as output:
        for label in spans(telemetry):
            output.send(label.key, label.rounded(tick(packer.schema)).encode())
    with Output(environment, topics.telemetry.name) as output:
        for messages in packed(telemetry, packer):
            for start, stop in pacer.due(np.array([message.time for message in messages], np.int64)):
                for message in messages[start:stop]:
                    output.send(message.key, message.value)
                    sent += message.readings
                yield sent


def packed(telemetry: Telemetry, packer: Packer) -> Iterator[list[Message]]:
    """The messages of a file."""
    for first in range(0, len(telemetry), CHUNK):
        part = slice(first, first + CHUNK)
        yield packer.pack(telemetry.devices[part], telemetry.times[part], telemetry.values[part])
    yield packer.flush()


def spans(telemetry: Telemetry) -> list[Label]:
    """Consecutive labelled rows of a device as one label each, in order of device and row."""
    if telemetry.labels is None:
        return []
    devices = np.array(telemetry.devices)
    return [Label(DeviceSpan(str(device), first, last), True, "label")
            for device in np.unique(devices)
            for first, last in _runs(telemetry.times[devices == device], telemetry.labels[devices == device])]


def _runs(times: Int64, labels: Bool) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]]).astype(np.int8)))
    for first, stop in edges.reshape(-1, 2):
        yield int(times[first]), int(times[stop - 1])


def far_from(times: Int64, schema: Schema, logged: int) -> int:
    """How many event times (µs) are too far from a log time (ms) of all."""
    good = Times(schema).good(times, np.full(len(times), logged))
    return 0 if good is None else int((~good).sum())


def head(telemetry: Telemetry, limit: int) -> Telemetry:
    """The first `limit` rows."""
    labels = None if telemetry.labels is None else telemetry.labels[:limit]
    return Telemetry(telemetry.devices[:limit], telemetry.times[:limit], telemetry.values[:limit], labels, telemetry.source)


@click.command("feed")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--schema", "schema_name", required=True, help="A name in conf/schemas/, or a YAML file.")
@click.option("--speed-up", type=click.FloatRange(0), default=0.0, show_default=True,
              help="So many times as fast as the event times; 0 is as fast as possible.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many rows of a file.")
@click.option("--no-labels", is_flag=True, help="Leave the files' labels out: they may come later, by `label`.")
@readings_option
@file_options
@json_option
@click.pass_obj
def feed_command(name: str, files: Sequence[Path], schema_name: str, speed_up: float, limit: int | None, no_labels: bool,
                 readings: int, columns: Columns, as_json: bool) -> None:  # fmt: skip
    """Send the rows of CSV, Parquet or .npy FILEs to the telemetry topic, one file after the other, and spans of labelled rows to the
    labels topic. Nothing is sent unless all of them can be read."""
    schema, environment = find_schema(schema_name), load_environment(name)
    found = [wanted(read_telemetry(file, schema.names, columns), limit, no_labels) for file in files]
    for file, telemetry in zip(files, found, strict=True):
        warn(file, telemetry, schema)
    started, rows = time.monotonic(), sum(map(len, found))
    with progress("rows") as bar:
        task = bar.add_task("sending", total=rows)
        for telemetry in found:
            before = 0
            for sent in send(telemetry, Packer(schema, readings), environment, speed_up):
                bar.advance(task, sent - before)
                before = sent
    seconds = time.monotonic() - started
    devices, labels = {device for one in found for device in one.devices}, [label for one in found for label in spans(one)]
    row = {"sent": rows, "devices": len(devices), "labels": len(labels), "seconds": round(seconds, 2), "rate": round(rows / seconds)}
    show([row], list(row), as_json)


def wanted(telemetry: Telemetry, limit: int | None, no_labels: bool) -> Telemetry:
    """What is to be sent of a file."""
    telemetry = head(telemetry, limit) if limit else telemetry
    return msgspec.structs.replace(telemetry, labels=None) if no_labels else telemetry


def warn(file: Path, telemetry: Telemetry, schema: Schema) -> None:
    """Of rows that will be dead letters."""
    empty = int((~np.isfinite(telemetry.values)).any(axis=1).sum())
    if empty:
        say(f"{file}: {empty} rows have empty or infinite values and will be dead letters")
    far = far_from(telemetry.times, schema, time.time_ns() // 1_000_000)
    if far:
        say(f"{file}: {far} rows are further from now than schema {schema.name!r} allows and will be dead letters")
