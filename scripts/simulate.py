"""`swapstream simulate`: telemetry of imitated devices with known faults, to Kafka or to a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import zip_longest
from pathlib import Path

import click
import msgspec
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet

from swapstream.models.errors import InvalidSettings
from swapstream.models.schema import Schema, encoder, tick
from swapstream.operators.labels import Label
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.console import json_option, progress, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.faults import parse_kinds
from swapstream.scripts.files import parse_start
from swapstream.scripts.kafka import Output
from swapstream.scripts.messages import Message, Packer, readings_option
from swapstream.scripts.pacing import Pacer
from swapstream.scripts.simulation import PREFIX, Chunk, Simulation

UNPACED_PERIOD = 1_000_000


class Sent(msgspec.Struct):
    """What went out; grows while it does."""

    sent: int = 0
    bad: int = 0
    faulty: int = 0
    faults: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, chunk: Chunk) -> None:
        """Count its faults."""
        self.faulty += int(chunk.faulty.sum())
        self.faults += len(chunk.labels)
        self.kinds.update(label.kind for label in chunk.labels)


def bad_messages(schema: Schema) -> Iterator[bytes]:
    """Messages that no decoder takes, without end: no reading at all, one cut short, one of no device, an empty one."""
    encode, values = encoder(schema), [0.0] * len(schema.fields)
    while True:
        yield b"not telemetry"
        yield encode("cut", 0, values)[:-1]
        yield encode("", 0, values)
        yield b""


class Source(msgspec.Struct, frozen=True):
    """Imitated devices, and what makes messages of their readings."""

    simulation: Simulation
    packer: Packer


def send(sources: Sequence[Source], environment: Environment, speed: float, bad: int = 0) -> Iterator[Sent]:
    """Send the readings and labels of all sources; yields the same, growing Sent often, and last when all is acknowledged.

    The `bad` messages are spread evenly over the run, each with the key of the message before it.
    """
    total, pacer, started = Sent(), Pacer(speed), time.monotonic()
    count, spoiled = sum(source.simulation.count for source in sources), bad_messages(sources[0].packer.schema)
    topics = environment.topics
    with Output(environment, topics.telemetry.name) as telemetry, Output(environment, topics.labels.name) as labels:
        for messages, found in batches(sources, total):
            for label in found:
                labels.send(label.key, label.encode())
            for start, stop in pacer.due(np.array([message.time for message in messages], np.int64)):
                for message in messages[start:stop]:
                    telemetry.send(message.key, message.value)
                    total.sent += message.readings
                    while total.bad * count < bad * total.sent:
                        telemetry.send(message.key, next(spoiled))
                        total.bad += 1
                yield msgspec.structs.replace(total)
        telemetry.flush()
        labels.flush()
    total.seconds = time.monotonic() - started
    yield total


def batches(sources: Sequence[Source], total: Sent) -> Iterator[tuple[list[Message], list[Label]]]:
    """Messages of all sources in the order of time, and the labels of the faults that begin among them. Counts the faults."""
    for chunks in zip_longest(*(source.simulation.chunks() for source in sources)):
        messages, labels = [], []
        for source, chunk in zip(sources, chunks, strict=True):
            if chunk is not None:
                messages.append(source.packer.pack(chunk.devices, chunk.times, chunk.values))
                labels += [label.rounded(tick(source.packer.schema)) for label in chunk.labels]
                total.add(chunk)
        yield merged(messages), labels
    yield merged([source.packer.flush() for source in sources]), []


def merged(runs: Sequence[list[Message]]) -> list[Message]:
    """One run in the order of time."""
    return list(merge(*runs, key=lambda message: message.time)) if len(runs) > 1 else runs[0]


def write(simulation: Simulation, path: Path) -> Iterator[Sent]:
    """Write the readings as Parquet: device, time, the fields, label. Yields the growing Sent."""
    total, started, writer = Sent(), time.monotonic(), None
    try:
        for chunk in simulation.chunks():
            table = pyarrow.Table.from_pandas(_table(simulation, chunk), preserve_index=False)
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            total.add(chunk)
            total.sent += len(chunk)
            yield total
    except OSError as error:
        raise InvalidSettings(f"--out {path}: {error}") from error
    finally:
        if writer:
            writer.close()
    total.seconds = time.monotonic() - started
    yield total


def _table(simulation: Simulation, chunk: Chunk) -> pandas.DataFrame:
    moments = chunk.times.astype("datetime64[us]")
    fields = dict(zip(simulation.names, chunk.values.T, strict=True))
    return pandas.DataFrame({"device": chunk.devices, "time": moments, **fields, "label": chunk.faulty})


@click.command("simulate")
@click.option("--devices", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Number of devices.")
@click.option("--rate", type=click.FloatRange(0), default=2_000, show_default=True,
              help="Readings a second of all devices; 0 is as fast as possible, with a reading a second in event time.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), default=30, show_default=True, help="Seconds.")
@click.option("--count", type=click.IntRange(1), help="Number of readings, instead of --duration.")
@click.option("--schema", "schema_names", multiple=True, default=["demo"], show_default=True,
              help="A name in conf/schemas/, or a YAML file; may be repeated for devices of several types.")
@readings_option
@click.option("--faults", "kinds", default="all", show_default=True,
              help="spike, drift, stuck, dropout, noise, level_shift, separated by commas; all or none.")
@click.option("--fault-rate", type=click.FloatRange(0, 0.5), default=0.01, show_default=True,
              help="About so large a share of the readings is faulty.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
              help="Equal seeds and start times give equal messages.")
@click.option("--start-time", help="Event time of the first reading, ISO 8601 or seconds since 1970; by default now.")
@click.option("--bad", type=click.IntRange(0), default=0, help="So many undecodable messages among the readings.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write a Parquet file, send nothing.")
@json_option
@click.pass_obj
def simulate_command(name: str, devices: int, rate: float, duration: float, count: int | None, schema_names: Sequence[str],
                     readings: int, kinds: str, fault_rate: float, seed: int, start_time: str | None, bad: int, out: Path | None,
                     as_json: bool) -> None:
    """Send telemetry of imitated devices to the telemetry topic, and the faults put into it to the labels topic."""
    if not rate and not count:
        raise InvalidSettings("--rate 0 needs --count: the number of readings")
    schemas = [find_schema(schema_name) for schema_name in schema_names]
    start = parse_start(start_time) if start_time else time.time_ns() // 1_000
    period = max(round(devices * len(schemas) / rate * 1e6), 1) if rate else UNPACED_PERIOD
    counts = shares(count or max(round(rate * duration), 1), len(schemas))
    sources = [
        Source(Simulation(schema.names, share, devices, seed, start, period, parse_kinds(kinds), fault_rate,
                          schema.name if len(schemas) > 1 else PREFIX), Packer(schema, readings))
        for schema, share in zip(schemas, counts, strict=True)
        if share
    ]
    if out:
        if bad or len(schemas) > 1:
            raise InvalidSettings("--bad, several --schema: a file has no undecodable messages, and rows of one schema; leave "
                                  "out --out")
        steps = write(sources[0].simulation, out)
    else:
        steps = send(sources, load_environment(name), 1.0 if rate else 0.0, bad)
    total = _shown(steps, sum(counts), "writing" if out else "sending")
    row = {"sent": total.sent, "bad": total.bad, "faults": total.faults, "faulty": total.faulty,
           "kinds": dict(sorted(total.kinds.items())), "seconds": round(total.seconds, 2),
           "rate": round(total.sent / max(total.seconds, 1e-9))}
    if not as_json:
        row["kinds"] = ", ".join(f"{count} {kind}" for kind, count in sorted(total.kinds.items()))
    show([row], list(row), as_json)


def shares(count: int, parts: int) -> list[int]:
    """A number in parts that differ by one at most."""
    return [count // parts + (part < count % parts) for part in range(parts)]


def _shown(steps: Iterator[Sent], count: int, doing: str) -> Sent:
    """Drive the steps under a progress bar."""
    total = Sent()
    with progress("readings") as bar:
        task = bar.add_task(doing, total=count)
        for total in steps:
            bar.update(task, completed=total.sent)
    return total
