"""`swapstream anomalies` and `swapstream scores`: what comes out, as it arrives. Only committed messages are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import click
import msgspec

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.anomalies import Anomaly
from swapstream.scripts import kafka
from swapstream.scripts.console import json_option, say
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.outputs import read_scores

Row = dict[str, Any]
Columns = dict[str, tuple[int, Callable[[Row], str]]]
"""Width and content by heading."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def anomaly_rows(value: bytes) -> Iterator[Row]:
    """The one row of a message of `anomalies`. Raises InvalidDefinition."""
    try:
        yield msgspec.structs.asdict(msgspec.json.decode(value, type=Anomaly))
    except msgspec.DecodeError as error:
        raise InvalidDefinition(f"not an anomaly: {error}") from error


def rows(environment: Environment, topic: str, read: Callable[[bytes], Iterator[Row]], start: kafka.Start,
         wait: bool) -> Iterator[Row]:
    """The rows of a topic: all until now, or with `wait` without end. A message that can't be read is named on stderr."""
    if wait:
        say(following(environment, topic))
    records = kafka.follow(environment, topic, start) if wait else kafka.read_to_end(environment, topic, start)
    for record in records:
        if record is None or record.value is None:
            continue
        try:
            yield from list(read(record.value))
        except InvalidDefinition as error:
            say(f"{topic} {record.partition}:{record.offset}: {error}")


def following(environment: Environment, topic: str) -> str:
    return f"following {topic} at {environment.broker.servers}; Ctrl-C ends it"


def print_rows(found: Iterable[Row], columns: Columns, as_json: bool) -> None:
    """A line for each row at once: JSON, or columns of a fixed width, so that no row has to wait for others."""
    heading = not as_json
    for row in found:
        if heading:
            click.echo(_line((name, width) for name, (width, _) in columns.items()))
            heading = False
        click.echo(json.dumps(row) if as_json else _line((cell(row), width) for width, cell in columns.values()))


def _line(cells: Iterable[tuple[str, int]]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in cells).rstrip()


def _moment(row: Row) -> str:
    return (EPOCH + timedelta(microseconds=row["time"])).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _place(row: Row) -> str:
    return f"{row['partition']}:{row['offset']}" + (f"[{row['index']}]" if row["index"] else "")


def _why(row: Row) -> str:
    return ", ".join(f"{name} {share:+.3g}" for name, share in row["contributions"].items())


def _verdict(row: Row) -> str:
    return row["error"] or ("anomaly" if row["anomalous"] else "warming" if row["warming"] else "")


def _score(row: Row) -> str:
    return "" if row["score"] is None else f"{row['score']:.4g}"


BOTH: Columns = {
    "time": (23, _moment),
    "device": (12, lambda row: row["device"]),
    "score": (9, _score),
    "threshold": (9, lambda row: f"{row['threshold']:.4g}"),
    "model": (16, lambda row: row["model"]),
    "epoch": (5, lambda row: str(row["epoch"])),
    "offset": (10, _place),
}
ANOMALIES: Columns = {**BOTH, "contributions": (0, _why)}
SCORES: Columns = {**BOTH, "role": (10, lambda row: row["role"]), "verdict": (0, _verdict)}


def follow_options(command: Callable[..., None]) -> Callable[..., None]:
    """What both commands take."""
    for option in (
        json_option,
        click.option("--from", "start", type=click.Choice(["earliest", "latest"]),
                     help="Where to begin; by default latest, with --no-follow earliest."),
        click.option("--limit", type=click.IntRange(1), help="Stop after so many rows."),
        click.option("--follow/--no-follow", "wait", default=True, show_default=True,
                     help="Wait for more, or stop at the end."),
    ):
        command = option(command)
    return command


@click.command("anomalies")
@follow_options
@click.pass_obj
def anomalies_command(name: str, wait: bool, limit: int | None, start: str | None, as_json: bool) -> None:
    """Show anomalies as they arrive: what was found, by which model, and which features contributed most."""
    environment = load_environment(name)
    found = rows(environment, environment.topics.anomalies.name, anomaly_rows, start_of(start, wait), wait)
    with suppress(KeyboardInterrupt):
        print_rows(islice(found, limit), ANOMALIES, as_json)


@click.command("scores")
@follow_options
@click.pass_obj
def scores_command(name: str, wait: bool, limit: int | None, start: str | None, as_json: bool) -> None:
    """Show scores as they arrive: a row for each record and each model that was asked, each once and in the order of telemetry.

    Where some are missing, that is said on stderr.
    """
    environment = load_environment(name)
    if wait:
        say(following(environment, environment.topics.scores.name))
    frames = read_scores(environment, start=start_of(start, wait), follow=wait)
    found = (row for frame in frames for row in frame.rows())
    with suppress(KeyboardInterrupt):
        print_rows(islice(found, limit), SCORES, as_json)


def start_of(start: str | None, wait: bool) -> kafka.Start:
    return "earliest" if start == "earliest" or (start is None and not wait) else "latest"
