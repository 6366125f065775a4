"""`swapstream try`: a plan over a telemetry file, here and now, by the code that the cluster runs."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import click
import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Frame
from swapstream.operators.pipeline import Pipeline, Scored
from swapstream.scripts.catalogue import local_pipeline
from swapstream.scripts.console import json_option, say, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.metrics import quality

FRAME = 2_000
COLUMNS = ("role", "model", "records", "warming", "anomalies", "alarm_rate")
QUALITY = ("precision", "recall", "average_precision", "event_recall")


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


def run_trial(pipeline: Pipeline, frame: Frame, labels: Bool | None = None) -> Trial:
    """Score a file's records, given as one long frame, in frames as they come from Kafka."""
    started = perf_counter()
    table = pipeline.new_table()
    parts = [pipeline.process(_cut(frame, first), table) for first in range(0, len(frame), FRAME)]
    seconds = perf_counter() - started
    warming = np.concatenate([part.warming for part in parts]) if parts else np.zeros(0, bool)
    return Trial(frame, labels, warming, _roles(parts, warming), seconds)


def rows_of(trial: Trial) -> list[dict[str, Any]]:
    """One row a role, for people and for scripts. Without a champion one row that only counts."""
    common = {"records": len(trial.frame), "warming": int(trial.warming.sum()), "seconds": round(trial.seconds, 3)}
    return [_row(trial, role) for role in trial.roles] or [{"role": None, "model": None, **common}]


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Four digits are enough for a table."""
    return {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}


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
        "threshold": role.threshold,
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


def read(file: str, fields: tuple[str, ...], **columns: str | None) -> tuple[Frame, Bool | None]:
    """A telemetry file as one long frame, and its labels if it has them. Raises UnknownName, InvalidDefinition.

    Records with a value that is missing or not finite would go to dead letters: they are left out here too.
    """
    from swapstream.scripts.files import read_telemetry  # pandas takes a second to import

    found = read_telemetry(file, fields, **columns)
    good = np.isfinite(found.values).all(axis=1)
    if not good.all():
        say(f"{file}: left out {int((~good).sum())} of {len(good)} records, with values that are missing or not finite")
    times = found.times[good]
    devices = [device for device, kept in zip(found.devices, good, strict=True) if kept]
    frame = Frame(0, np.flatnonzero(good), times // 1_000, times, devices, found.values[good])
    return frame, None if found.labels is None else found.labels[good]


def _cut(frame: Frame, first: int) -> Frame:
    last = first + FRAME
    return Frame(
        frame.partition,
        frame.offsets[first:last],
        frame.timestamps[first:last],
        frame.times[first:last],
        frame.devices[first:last],
        frame.values[first:last],
    )


def _roles(parts: list[Scored], warming: Bool) -> list[RoleTrial]:
    """Put what each model said of each frame together. A model on two routes with two thresholds is two roles."""
    found: dict[tuple[str, str, float], tuple[Bool, Float64, list[str]]] = {}
    first = 0
    for part in parts:
        for said in part.roles:
            key = (said.role, str(said.model), said.threshold)
            asked, scores, errors = found.setdefault(
                key, (np.zeros(len(warming), bool), np.full(len(warming), np.nan), [])
            )
            asked[first + said.rows] = True
            scores[first + said.rows] = said.scores
            errors += [said.error] if said.error else []
        first += len(part.frame)
    return [
        RoleTrial(role, model, threshold, asked, scores, (scores > threshold) & ~warming, next(iter(errors), None))
        for (role, model, threshold), (asked, scores, errors) in found.items()
    ]


@click.command("try")
@click.argument("plan", type=click.Path())
@click.argument("file", type=click.Path())
@click.option("--time", help="The file's time column.")
@click.option("--device", help="The file's device column.")
@click.option("--device-name", help="The one device whose telemetry the file holds, instead of a device column.")
@click.option("--label", help="The file's label column: anything but 0 is a labelled record.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write a picture: scores, threshold, labels, anomalies.")
@json_option
@click.pass_obj
def try_command(
    environment: str,
    plan: str,
    file: str,
    time: str | None,
    device: str | None,
    device_name: str | None,
    label: str | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """Run the plan in PLAN over the telemetry in FILE (CSV or Parquet), without Kafka or Flink.

    Prints for each model how often it raises an alarm and, where the file has labels, how often that is right:
    precision and recall by record, average precision over all thresholds, and the share of labelled spans with at
    least one alarm.
    """
    pipeline = local_pipeline(load_environment(environment), plan)
    trial = run_trial(
        pipeline, *read(file, pipeline.schema.names, time=time, device=device, device_name=device_name, label=label)
    )
    title = f"{Path(file).name}: {len(trial.frame):,} records in {trial.seconds:.2f} s under plan {pipeline.plan.name}"
    if not trial.roles:
        say(f"plan {pipeline.plan.name!r} has no champion: nothing is scored, features are only archived")
    columns = COLUMNS if trial.labels is None else COLUMNS + QUALITY
    show(rows_of(trial) if as_json else map(rounded, rows_of(trial)), columns, as_json, title)
    if plot and trial.roles:
        from swapstream.scripts.plot import draw  # matplotlib takes a second to import

        draw(trial, Path(plot))
        say(f"wrote {plot}")
