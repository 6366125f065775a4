"""Making artifacts: `train` fits a kind of ours, `pack` takes a model of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from swapstream.models import calibrate, statistics
from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.bitwise import divergence
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.gate import check
from swapstream.models.golden import choose
from swapstream.models.kinds import kind_of, scorer
from swapstream.models.kinds.base import Fitted, Settings, Training
from swapstream.models.lineage import array_source, lineage
from swapstream.models.manifest import Lineage, Manifest, Structure, version_of

TOLERANCE = 1e-6  # equal bits are promised for one CPU family only (DESIGN, C6)
TOLERANCE_FLOAT32 = 1e-5
NOT_YET: Float64 = np.zeros(0)


def train(
    kind: str,
    X: ArrayLike,
    features: Sequence[str] | None = None,
    *,
    name: str,
    version: int = 1,
    labels: ArrayLike | None = None,
    threshold: float | None = None,
    alarm_rate: float | None = None,
    shape: tuple[int, ...] = (),
    seed: int = 0,
    settings: Settings | None = None,
    lineage: Lineage | None = None,
) -> Artifact:
    """Fit a built-in kind on rows float64[n, F], or windows [n, T, F], and calibrate its threshold on them.

    `labels`      bool[n], True for known anomalies: left out, unless the kind learns from them (the threshold never does)
    `threshold`   instead of one that `alarm_rate` of the rows exceed [0.001, or the one that the kind has by nature]
    `shape`       (T, F) where the rows are windows laid flat

    The same arguments (lineage's time included) give the same bytes. Raises UnknownName, InvalidSettings,
    InvalidArtifact.
    """
    rows, shape = training_rows(X, shape)
    names = _names(rows, features, shape)
    truth = _labels(labels, len(rows))
    if truth is not None and not kind_of(kind).LABELS:
        rows, truth = rows[~truth], None
    model = kind_of(kind).fit(Training(rows, names, truth, seed, settings or {}))
    if threshold is None and alarm_rate is None:
        threshold = model.threshold
    made = lineage or _lineage(rows, seed, settings)
    return _assemble(
        _Draft(kind, name, version, rows, names, made, seed, model, alarm_rate, threshold, shape=shape, labels=truth)
    )


def pack(
    model: Any,
    X: ArrayLike,
    features: Sequence[str] | None = None,
    *,
    name: str,
    version: int = 1,
    score: str | None = None,
    output: str | None = None,
    column: int | None = None,
    threshold: float | None = None,
    alarm_rate: float | None = None,
    shape: tuple[int, ...] = (),
    seed: int = 0,
    lineage: Lineage | None = None,
) -> Artifact:
    """Make an artifact of a fitted scikit-learn estimator or an ONNX model (bytes or a path).

    `X`          rows float64[n, F] or windows [n, T, F], typical ones: the threshold is calibrated on them unless
                 `threshold` is given
    `score`      how the output becomes the score (greater is more abnormal): "output", "-output" or
                 "reconstruction_error"; an estimator's is known, a graph's is "output" unless skl2onnx's outlier detectors
                 made it
    `output`     which output of the graph; not needed when there is one
    `column`     which column of that output, where it has several: a classifier's probability of this class
    `shape`      (T, F) where the rows are windows laid flat; not needed when the graph's input says so

    Raises InvalidArtifact in one line when the model can't be one.
    """
    from swapstream.models.convert import graph_of

    rows, shape = training_rows(X, shape)
    converted = graph_of(model, rows, score, output, shape, column)
    names = _names(rows, features, converted.window)
    made = lineage or _lineage(rows, seed, None)
    fitted = Fitted(graph=converted.graph, score=converted.score, output=converted.output)
    return _assemble(
        _Draft("onnx", name, version, rows, names, made, seed, fitted, alarm_rate, threshold, TOLERANCE_FLOAT32,
               converted.window, column)
    )  # fmt: skip


def with_metrics(artifact: Artifact, metrics: Mapping[str, float]) -> Artifact:
    """The same model, whose lineage says what it showed."""
    said = artifact.manifest
    made = msgspec.structs.replace(said.lineage, metrics=dict(metrics))
    manifest = msgspec.structs.replace(said, lineage=made, v=version_of(said.structure, made, said.reference))
    return msgspec.structs.replace(artifact, manifest=manifest)


class _Draft(msgspec.Struct, frozen=True):
    kind: str
    name: str
    version: int
    rows: Float64
    features: tuple[str, ...]
    lineage: Lineage
    seed: int
    fitted: Fitted
    alarm_rate: float | None
    threshold: float | None
    tolerance: float = TOLERANCE
    shape: tuple[int, ...] = ()
    column: int | None = None
    labels: NDArray[np.bool_] | None = None

    @property
    def rate(self) -> float | None:
        """The share of rows that may exceed the threshold; None where that is given."""
        if self.threshold is not None:
            return None
        return calibrate.ALARM_RATE if self.alarm_rate is None else self.alarm_rate

    @property
    def normal(self) -> NDArray[np.bool_]:
        """Which rows are no known anomalies."""
        return np.ones(len(self.rows), bool) if self.labels is None else ~self.labels


def _assemble(draft: _Draft) -> Artifact:
    """Score the training rows with a provisional artifact, fill in what follows from the scores, and pass the gate."""
    provisional = _artifact(draft, 0.0, False, draft.rows[:1], np.zeros(1))
    loaded = scorer(provisional)
    scores = loaded.score(draft.rows)
    threshold = draft.threshold
    if threshold is None:
        threshold = calibrate.threshold(scores[draft.normal], draft.rate or 0.0)
    usable = np.isfinite(scores)  # rules may leave a row undecided
    if not usable.any():
        raise InvalidSettings(f"{draft.kind}: no training row has a finite score")
    golden = choose(draft.rows[usable], scores[usable], draft.seed)
    bitwise = divergence(loaded, golden) is None
    artifact = _artifact(draft, threshold, bitwise, golden, loaded.score(golden), scores[draft.normal])
    check(artifact, draft.features)
    return artifact


def _artifact(
    draft: _Draft, threshold: float, bitwise: bool, inputs: Float64, scores: Float64, training_scores: Float64 = NOT_YET
) -> Artifact:
    fitted = draft.fitted
    structure = Structure.of(draft.shape, draft.column, fitted.words)
    reference = statistics.reference(draft.rows[draft.normal], training_scores)
    manifest = Manifest(
        v=version_of(structure, draft.lineage, reference),
        name=draft.name,
        version=draft.version,
        kind=draft.kind,
        features=draft.features,
        score=fitted.score,
        output=fitted.output,
        threshold=threshold,
        alarm_rate=draft.rate,
        tolerance=draft.tolerance,
        bitwise=bitwise,
        reference=reference,
        lineage=draft.lineage,
        digest=payload_digest(fitted.parameters, fitted.graph, inputs, scores),
        structure=structure,
    )
    return Artifact(manifest, fitted.parameters, fitted.graph, inputs, scores)


def training_rows(X: ArrayLike, shape: tuple[int, ...] = ()) -> tuple[Float64, tuple[int, ...]]:
    """Rows float64[n, K], C order, and the window (T, F) that each is, () for none: X is [n, K], or [n, T, F] laid flat.

    Raises InvalidSettings for another rank, fewer than 2 rows, or numbers not finite.
    """
    try:
        rows = np.ascontiguousarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidSettings(f"training rows are not numbers: {error}") from error
    if rows.ndim not in (2, 3) or len(rows) < 2 or not rows.size:
        raise InvalidSettings(
            f"training rows have shape {rows.shape}; allowed: (rows, features) or (rows, T, F), at least 2 rows"
        )
    if bad := np.argwhere(~np.isfinite(rows)).tolist():
        row, *column = bad[0]
        where = ", ".join(map(str, column))
        raise InvalidSettings(f"training row {row}, column {where} is {rows[tuple(bad[0])]}; allowed: finite numbers")
    window = rows.shape[1:] if rows.ndim == 3 else shape
    if shape and window != tuple(shape):
        raise InvalidSettings(f"training windows are {window}; shape says {tuple(shape)}")
    return rows.reshape(len(rows), -1), tuple(window)


def _labels(labels: ArrayLike | None, count: int) -> NDArray[np.bool_] | None:
    if labels is None:
        return None
    truth = np.asarray(labels)
    if truth.shape != (count,) or truth.dtype.kind not in "bui":
        raise InvalidSettings(f"labels are {truth.dtype} of shape {truth.shape}; allowed: one for each of {count} rows")
    return truth.astype(bool)


def _names(rows: Float64, features: Sequence[str] | None, shape: tuple[int, ...]) -> tuple[str, ...]:
    width = rows.shape[1]
    if features is None and shape:
        features = [f"x{field}[-{back}]" for back in range(shape[0] - 1, -1, -1) for field in range(shape[1])]
    names = tuple(features) if features is not None else tuple(f"x{index}" for index in range(width))
    if len(names) != width:
        raise InvalidArtifact(f"{len(names)} feature names for {width} columns")
    return names


def _lineage(rows: Float64, seed: int, settings: Settings | None) -> Lineage:
    return lineage(data=[array_source(rows)], seed=seed, settings=settings)
