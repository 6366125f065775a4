"""`swapstream replay`: what production did with readings, done again here, with everything on the way to their answers.

In a notebook:

    from swapstream.scripts.replay import replay

    frame = replay("2026-01-31T12:00", "2026-01-31T12:30", device="pump-003")
    frame[["time", "champion.score", "champion.threshold", "anomalous"]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from swapstream.models.errors import InvalidSettings, Unavailable, UnknownName
from swapstream.operators.comparison import Divergence
from swapstream.operators.retelling import Retelling
from swapstream.operators.verification import Memory
from swapstream.scripts.console import json_option, out, say, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.rerun import Rerun
from swapstream.scripts.spans import place_of, span_options, whole_sections
from swapstream.scripts.submitted import the_deployment

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("partition", "offset", "index", "device", "time", "epoch", "plan", "warming", "champion.model", "champion.score",
           "champion.threshold", "anomalous")  # fmt: skip


class Replayed(NamedTuple):
    """`table`: a row for each reading, in the order of partition and offset; its columns are those of Retelling, time and logged as UTC.
    `divergences`: the first of each partition where what came out was something else. `memories`: by partition, what is known of a
    device behind the last record."""

    table: pd.DataFrame
    divergences: list[Divergence]
    memories: dict[int, Memory]

    def memory(self, device: str) -> dict[str, dict[str, list[float]]]:
        """What is remembered of a device behind the last record: schema → column of the device table → numbers."""
        return {schema: row for memory in self.memories.values() for schema, row in memory(device).items()}


def replay(
    start: int | str | None = None,
    end: int | str | None = None,
    *,
    until: int | None = None,
    device: str | None = None,
    partitions: Sequence[int] = (),
    deployment: str | None = None,
    namespace: str | None = None,
    environment: Environment | str | None = None,
) -> pd.DataFrame:
    """What a deployment did with a span of telemetry, as a pandas frame: a row for each reading, by partition and offset.

    - start, end: offsets in each partition, or times of telemetry's log (UTC), both included; by default all that is answered. until: stop
      behind this offset, by default with its reading alone. device, partitions: only their readings. deployment: by default the one that
      runs here. environment: as `--environment` names it, by default the variable SWAPSTREAM_ENV's, else `local`.
    - Columns: those of Retelling, time and logged as UTC. `frame.attrs` lists those that are "values" and "features", the "roles" that
      answered, and as "divergences" where what came out of production was something else, the first of each partition. With `until` there
      is "state", of each device in the frame: what was remembered of it behind that offset, by schema and column.

    Raises UnknownName, InvalidSettings, Unavailable, ClusterError.
    """
    there = environment if isinstance(environment, Environment) else load_environment(environment)
    start, end = span(start, end, until)
    found = replayed(there, deployment, start=start, end=end, device=device, partitions=partitions, namespace=namespace)
    table = found.table
    table.attrs["divergences"] = [str(divergence) for divergence in found.divergences]
    table.attrs |= {f"{what}s": [name for name in table.columns if name.startswith(f"{what}.")] for what in ("value", "feature")}
    table.attrs["roles"] = [name.removesuffix(".score") for name in table.columns if name.endswith(".score")]
    if until is not None:
        table.attrs["state"] = {name: found.memory(name) for name in table["device"].unique()}
    return table


def span(start: int | str | None, end: int | str | None, until: int | None) -> tuple[int | str | None, int | str | None]:
    """Of what is run again. Raises InvalidSettings."""
    if until is None:
        return start, end
    if end is not None:
        raise InvalidSettings(f"both `until` {until} and an end, {end}, are given; give one of them")
    return until if start is None else start, until


def replayed(
    environment: Environment,
    deployment: str | None = None,
    *,
    start: int | str | None = None,
    end: int | str | None = None,
    device: str | None = None,
    partitions: Sequence[int] = (),
    namespace: str | None = None,
) -> Replayed:
    """Run a span of telemetry again as the deployment did, without Flink, from the nearest published state before it.

    `start`, `end`: offsets in each partition, or times; both included. `device`: only its readings are kept, though all are run.
    Raises UnknownName, InvalidSettings, ClusterError; Unavailable where a store does not give what is needed.
    """
    name, topic = the_deployment(environment, deployment), environment.topics.telemetry.name
    wanted = whole_sections(environment, topic, _place(start), _place(end), partitions)
    told = Retelling({partition: section.span.first for partition, section in wanted.items()}, device)
    runs = list(Rerun(environment, namespace or environment.job.namespace, name, witness=told).run(wanted, start is None))
    if stuck := [run.stuck for run in runs if run.stuck]:
        raise Unavailable(stuck[0])
    divergences = [run.verified.first for run in runs if run.verified.first]
    return Replayed(table_of(told), divergences, {run.verified.partition: run.memory for run in runs})


def _place(text: int | str | None) -> Any:
    return place_of(None if text is None else str(text))


def table_of(told: Retelling) -> pd.DataFrame:
    import pandas as pd

    columns = told.columns()
    if not columns:
        return pd.DataFrame(columns=list(COLUMNS))
    for name, unit in (("time", "us"), ("logged", "ms")):
        columns[name] = pd.to_datetime(columns[name], unit=unit, utc=True)
    return pd.DataFrame(columns, copy=False)


@click.command("replay")
@click.option("--deployment", help="Which deployment [default: the one that runs here].")
@click.option("--namespace", help="Of which namespace [default: the environment's].")
@span_options("where the deployment began", "the last that is answered")
@click.option("--device", help="Only readings of this device.")
@click.option("--partition", "partitions", type=int, multiple=True, help="Only this partition; may be given several times.")
@click.option("--until", type=click.IntRange(0), 
              help="Stop behind this offset, and show all of its reading, and what is remembered of its device.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True,
              help="Of the table: so many rows, the last ones. JSON has all.")
@click.option("--plot", type=click.Path(dir_okay=False), help="A picture of scores and thresholds (.png, .svg, .pdf).")
@json_option
@click.pass_obj
def replay_command(name: str, deployment: str | None, namespace: str | None, start: str | None, end: str | None, device: str | None,
                   partitions: tuple[int, ...], until: int | None, limit: int, plot: str | None, as_json: bool) -> None:  # fmt: skip
    """Do again what the deployment did with a span of telemetry, here and without Flink, and show how each answer came about.

    Values, features, every role's score, threshold and decision; with --until all of one reading. It starts from the nearest snapshot
    of a shard's state before the first record, and says where what came out of production was something else (as `verify` does).
    """
    first, last = span(start, end, until)
    found = replayed(load_environment(name), deployment, start=first, end=last, device=device, partitions=partitions, namespace=namespace)
    rows = rows_of(found.table if as_json or until is not None else found.table.tail(limit))
    if until is None:
        show(rows, COLUMNS, as_json, f"{len(found.table):,} readings")
    else:
        explain([row | {"state": found.memories[row["partition"]](row["device"])} for row in rows], until, as_json)
    if plot:
        from swapstream.scripts.plot import draw_replay  # takes a second to import

        draw_replay(found.table, Path(plot))
    say(f"production said something else: {found.divergences[0]}" if found.divergences else "as production had it")


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is empty in them, times as text."""
    return [{key: told for key, value in row.items() if (told := _told(value)) not in (None, "")} for row in table.to_dict("records")]


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


def explain(rows: list[dict[str, Any]], offset: int, as_json: bool) -> None:
    """The readings of one record, each from top to bottom. Raises UnknownName where there is none."""
    chosen = [row for row in rows if row["offset"] == offset]
    if not chosen:
        raise UnknownName(f"no reading at offset {offset}: a token or a dead letter, or not of this device or partition")
    if as_json:
        show(chosen, (), True)
        return
    for row in chosen:
        lines = [{"": key, "value": value} for key, value in row.items() if key != "state"]
        lines += [{"": f"state {schema} {column}", "value": " ".join(f"{number:g}" for number in numbers)}
                  for schema, columns in row["state"].items() for column, numbers in columns.items()]
        show(lines, ("", "value"), False, f"{row['topic']} {row['partition']}:{row['offset']} ({row['device']})")
        out.print()
