"""`swapstream try`: a plan over a telemetry file, here and now, by the code that the cluster runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Frame
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.scored import Scored
from swapstream.scripts.catalogue import local_pipeline
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.files import Columns, file_options, read_telemetry
from swapstream.scripts.metrics import quality

FRAME = 2_000
MEASURES = ("records", "warming", "errors", "threshold", "anomalies", "alarm_rate")
QUALITY = ("precision", "recall", "average_precision", "events", "event_recall")


class RoleTrial(msgspec.Struct, frozen=True):
    """What one model said of a file: arrays [n] over all records, NaN and False where it was not asked or failed.

    `alarms`: above the threshold and not warming. `error`: the reason of the first failure.
    """

    role: str
    model: str
    threshold: float
    asked: Bool
    scores: Float64
    alarms: Bool
    error: str | None

    @property
    def scored(self) -> Bool:
        return np.isfinite(self.scores)


class Trial(msgspec.Struct, frozen=True):
    """A file's records, and what every role said. `labels` [n] if the file has them."""

    frame: Frame
    labels: Bool | None
    warming: Bool
    roles: list[RoleTrial]
    seconds: float


def run_trial(part: LoadedInput, frame: Frame, labels: Bool | None = None) -> Trial:
    """Score a file's records, given as one long frame, in frames as they come from Kafka."""
    started = perf_counter()
    table = part.new_table()
    parts = [part.process(frame.take(slice(first, first + FRAME)), table) for first in range(0, len(frame), FRAME)]
    return trial_of(frame, parts, labels, perf_counter() - started)


def trial_of(frame: Frame, parts: list[Scored], labels: Bool | None, seconds: float) -> Trial:
    """What was said of a frame, part after part."""
    warming = np.concatenate([part.warming for part in parts]) if parts else np.zeros(0, bool)
    return Trial(frame, labels, warming, _roles(parts, warming), seconds)


def joined(frames: Sequence[Frame]) -> Frame:
    """Frames one after the other as one, of whatever partitions they are."""
    if not frames:
        empty = np.zeros(0, np.int64)
        return Frame(0, empty, empty, empty, [], np.zeros((0, 0)), empty)
    names = ("offsets", "timestamps", "times", "values", "index")
    columns = {name: np.concatenate([getattr(frame, name) for frame in frames]) for name in names}
    return Frame(frames[0].partition, devices=[device for frame in frames for device in frame.devices], **columns)


def rows_of(trial: Trial) -> list[dict[str, Any]]:
    """One row a role, for people and for scripts. Without a champion one row that only counts."""
    common = {"records": len(trial.frame), "warming": int(trial.warming.sum()), "seconds": round(trial.seconds, 3)}
    return [_row(trial, role) for role in trial.roles] or [{"role": None, "model": None, **common}]


def sheet(rows: list[dict[str, Any]], measures: Sequence[str]) -> list[dict[str, Any]]:
    """For people: a row a measure, a column a role, which fits a narrow terminal. Four digits are enough."""
    heads = [f"{row['role']} {row['model']}".replace("None None", "no champion") for row in rows]
    return [
        {"": measure, **{head: _short(row.get(measure)) for head, row in zip(heads, rows, strict=True)}}
        for measure in measures
    ]


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _row(trial: Trial, role: RoleTrial) -> dict[str, Any]:
    """Counts are over the records that the role was asked about."""
    asked = int(role.asked.sum())
    row = {
        "role": role.role,
        "model": role.model,
        "records": asked,
        "warming": int(trial.warming[role.asked].sum()),
        "errors": int((role.asked & ~role.scored).sum()),
        "error": role.error,
        "threshold": role.threshold if np.isfinite(role.threshold) else None,
        "anomalies": int(role.alarms.sum()),
        "alarm_rate": float(role.alarms.sum() / asked) if asked else None,
        "seconds": round(trial.seconds, 3),
    }
    if trial.labels is not None:
        devices = [device for device, wanted in zip(trial.frame.devices, role.asked, strict=True) if wanted]
        ranked = (role.scored & ~trial.warming)[role.asked]
        found = quality(devices, trial.labels[role.asked], role.alarms[role.asked], role.scores[role.asked], ranked)
        row |= msgspec.structs.asdict(found)
    return row


def _roles(parts: list[Scored], warming: Bool) -> list[RoleTrial]:
    """Put what each model said of each frame together. A model on two routes with two thresholds is two roles."""
    found: dict[tuple[str, str, float], tuple[Bool, Float64, list[str]]] = {}
    first = 0
    for part in parts:
        for said in part.roles:
            key = (said.role, said.model.name, said.threshold)
            asked, scores, errors = found.setdefault(
                key, (np.zeros(len(warming), bool), np.full(len(warming), np.nan), [])
            )
            asked[first + said.rows] = True
            scores[first + said.rows] = said.scores
            errors += said.errors.values()
        first += len(part.frame)
    return [
        RoleTrial(role, model, threshold, asked, scores, (scores > threshold) & ~warming, next(iter(errors), None))
        for (role, model, threshold), (asked, scores, errors) in found.items()
    ]


@click.command("try")
@click.argument("plan", type=click.Path())
@click.argument("file", type=click.Path())
@file_options
@click.option("--schema", help="Which of the plan's schemas the file is of, where there are several.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write a picture: scores, threshold, labels, anomalies.")
@json_option
@click.pass_obj
def try_command(environment: str, plan: str, file: str, columns: Columns, schema: str | None, plot: str | None, as_json: bool) -> None:
    """Run the plan in PLAN over the telemetry in FILE (CSV or Parquet), without Kafka or Flink.

    Prints for each model how often it raises an alarm and, where the file has labels, how often that is right:
    precision and recall by record, average precision over all thresholds, and the share of labelled spans with at
    least one alarm.
    """
    pipeline = local_pipeline(load_environment(environment), plan)
    part = pipeline.input(schema)
    telemetry = read_telemetry(file, part.schema.names, columns)
    usable = telemetry.finite()
    if dropped := len(telemetry) - len(usable):
        say(
            f"{file}: left out {dropped} of {len(telemetry)} records, which would go to dead letters: not finite numbers"
        )
    trial = run_trial(part, usable.frame(), usable.labels)
    title = f"{Path(file).name}: {len(trial.frame):,} records in {trial.seconds:.2f} s under plan {pipeline.plan.name}"
    if not trial.roles:
        say(f"plan {pipeline.plan.name!r} has no champion: nothing is scored, features are only archived")
    rows = rows_of(trial)
    if as_json:
        show(rows, [], as_json)
    else:
        table = sheet(rows, MEASURES if trial.labels is None else MEASURES + QUALITY)
        show(table, list(table[0]), as_json, title)
    if plot and trial.roles:
        from swapstream.scripts.plot import draw  # matplotlib takes a second to import

        draw(trial, Path(plot))
        say(f"wrote {plot}")
