"""An artifact of rows, with its lineage, and with what the same recipe shows on the later rows when it is fitted to the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from swapstream.models.artifact import Artifact
from swapstream.models.build import pack, train, with_metrics
from swapstream.models.errors import InvalidSettings
from swapstream.models.kinds import kind_of, scorer
from swapstream.models.lineage import lineage
from swapstream.models.manifest import Lineage, Source
from swapstream.operators.frame import Bool
from swapstream.scripts.metrics import quality
from swapstream.scripts.own_fit import OwnFit, frame_of, library_of
from swapstream.scripts.training import Rows
from swapstream.scripts.training_data import Learnable

Setting = int | float | str


class Recipe(msgspec.Struct, frozen=True):
    """How a model is made: a built-in kind with its settings, or a fit of the user's with what is to be known of its output.

    `hold_out`: the share of the rows, the last ones by event time, that the recipe is measured on, fitted to those before.
    """

    name: str
    kind: str = ""
    settings: Mapping[str, Setting] = {}
    fit: OwnFit | None = None
    score: str | None = None
    output: str | None = None
    column: int | None = None
    threshold: float | None = None
    alarm_rate: float | None = None
    hold_out: float = 0.2
    seed: int = 0


def make(recipe: Recipe, given: Learnable, version: int, parent: str | None) -> Artifact:
    """Raises InvalidSettings, InvalidArtifact, UnknownName, Rejected: in one line, with nothing written."""
    later = held_out(given.rows, recipe.hold_out)
    left = len(given.rows) - int(later.sum())
    if left < 2:
        raise InvalidSettings(f"{left} of {len(given.rows)} rows are left to fit {recipe.name} to: a smaller --hold-out leaves more")
    artifact = _made(recipe, given, given.rows, version, parent)
    if not later.any():
        return artifact
    tried = _made(recipe, given, given.rows.take(~later), version, parent)
    return with_metrics(artifact, measured(tried, given.rows.take(later)))


def _made(recipe: Recipe, given: Learnable, rows: Rows, version: int, parent: str | None) -> Artifact:
    """Fitted to some of the rows."""
    return _own(recipe, recipe.fit, given, rows, version, parent) if recipe.fit else _built_in(recipe, given, rows, version, parent)


def held_out(rows: Rows, share: float) -> Bool:
    """Which rows are later than all others: about this share of them, those of one moment together."""
    count = round(share * len(rows))
    if not count:
        return np.zeros(len(rows), np.bool_)
    moment = np.sort(rows.times)[len(rows) - count]
    later: Bool = rows.times >= moment
    return later


def measured(artifact: Artifact, rows: Rows) -> dict[str, float]:
    """Alarm rate, and where there are labels precision, recall and average precision; what can't be told is left out."""
    scores = scorer(artifact).score(rows.features)
    alarms = scores > artifact.manifest.threshold
    found = {"rows": float(len(rows)), "alarm_rate": float(alarms.mean())}
    if rows.labels is not None:
        order = np.argsort(rows.times, kind="stable")
        devices = [rows.devices[i] for i in order.tolist()]
        said = quality(devices, rows.labels[order], alarms[order], scores[order], np.isfinite(scores)[order])
        told = {"precision": said.precision, "recall": said.recall, "average_precision": said.average_precision}
        found |= {"anomalies": float(rows.labels.sum())} | {key: value for key, value in told.items() if value is not None}
    return found


def _built_in(recipe: Recipe, given: Learnable, rows: Rows, version: int, parent: str | None) -> Artifact:
    used = np.ones(len(rows), np.bool_) if kind_of(recipe.kind).LABELS else rows.normal
    return train(
        recipe.kind, rows.features, given.features, name=recipe.name, version=version, labels=rows.labels, threshold=recipe.threshold,
        alarm_rate=recipe.alarm_rate, shape=given.shape, seed=recipe.seed, settings=recipe.settings,
        lineage=_lineage(recipe, given, sources(rows, used), parent),
    )  # fmt: skip


def _own(recipe: Recipe, fit: OwnFit, given: Learnable, rows: Rows, version: int, parent: str | None) -> Artifact:
    """The threshold is calibrated on the rows that are no known anomalies; what `fit` does with those is its own affair."""
    made = fit(frame_of(rows, given.features))
    told = _lineage(recipe, given, sources(rows, np.ones(len(rows), np.bool_)), parent)
    told = msgspec.structs.replace(told, libraries=told.libraries | library_of(made), settings={"fit": fit.name, "fit_sha256": fit.digest})
    return pack(
        made, rows.features[rows.normal], given.features, name=recipe.name, version=version, score=recipe.score, output=recipe.output,
        column=recipe.column, threshold=recipe.threshold, alarm_rate=recipe.alarm_rate, shape=given.shape, seed=recipe.seed, lineage=told,
    )  # fmt: skip


def _lineage(recipe: Recipe, given: Learnable, data: tuple[Source, ...], parent: str | None) -> Lineage:
    return lineage(data=data, seed=recipe.seed, settings=recipe.settings, parent=parent, extractor=given.extractor or None)


def sources(rows: Rows, used: Bool) -> tuple[Source, ...]:
    """The rows' sources, with how many rows of each were used."""
    counts = np.bincount(rows.source[used], minlength=len(rows.sources)).tolist()
    return tuple(msgspec.structs.replace(source, rows=count) for source, count in zip(rows.sources, counts, strict=True))


def told(metrics: Mapping[str, float]) -> str:
    """Metrics in a line for people."""
    parts: list[Any] = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in metrics.items() if name != "rows"]
    return f"on the last {metrics.get('rows', 0):.0f} rows, fitted to those before: {', '.join(parts)}"
