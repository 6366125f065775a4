"""Making artifacts: `train` fits a kind of ours, `pack` takes a model of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from swapstream.models import calibrate, statistics
from swapstream.models.arrays import Array, Float64
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.bitwise import divergence
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.gate import check
from swapstream.models.golden import choose
from swapstream.models.kinds import kind_of, scorer
from swapstream.models.kinds.base import Settings
from swapstream.models.lineage import array_source, lineage
from swapstream.models.manifest import Lineage, Manifest

TOLERANCE = 1e-6  # equal bits are promised for one CPU family only (DESIGN, C6)
TOLERANCE_FLOAT32 = 1e-5


def train(
    kind: str,
    X: ArrayLike,
    features: Sequence[str] | None = None,
    *,
    name: str,
    version: int = 1,
    alarm_rate: float = calibrate.ALARM_RATE,
    seed: int = 0,
    settings: Settings | None = None,
    lineage: Lineage | None = None,
) -> Artifact:
    """Fit a built-in kind on rows float64[n, F] and calibrate its threshold on them.

    The same arguments (lineage's time included) give the same bytes. Raises UnknownName, InvalidSettings,
    InvalidArtifact.
    """
    rows = training_rows(X)
    parameters = kind_of(kind).fit(rows, seed, settings or {})
    made = lineage or _lineage(rows, seed, settings)
    return _assemble(
        _Draft(kind, name, version, rows, _names(rows, features), made, alarm_rate, seed, parameters=parameters)
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
    threshold: float | None = None,
    alarm_rate: float = calibrate.ALARM_RATE,
    seed: int = 0,
    lineage: Lineage | None = None,
) -> Artifact:
    """Make an artifact of a fitted scikit-learn estimator or an ONNX model (bytes or a path).

    `X`          rows float64[n, F], typical ones: the threshold is calibrated on them unless `threshold` is given
    `score`      how the output becomes the score (greater is more abnormal): "output", "-output" or
                 "reconstruction_error"; an estimator's is known, a graph's is "output" unless skl2onnx's outlier detectors
                 made it
    `output`     which output of the graph; not needed when there is one

    Raises InvalidArtifact in one line when the model can't be one.
    """
    from swapstream.models.convert import graph_of

    rows = training_rows(X)
    converted = graph_of(model, rows, score, output)
    made = lineage or _lineage(rows, seed, None)
    return _assemble(
        _Draft(
            "onnx",
            name,
            version,
            rows,
            _names(rows, features),
            made,
            alarm_rate,
            seed,
            graph=converted.graph,
            score=converted.score,
            output=converted.output,
            threshold=threshold,
            tolerance=TOLERANCE_FLOAT32,
        )
    )


class _Draft(msgspec.Struct, frozen=True):
    kind: str
    name: str
    version: int
    rows: Float64
    features: tuple[str, ...]
    lineage: Lineage
    alarm_rate: float
    seed: int
    parameters: Mapping[str, Array] = {}
    graph: bytes | None = None
    score: str = "output"
    output: str | None = None
    threshold: float | None = None
    tolerance: float = TOLERANCE


def _assemble(draft: _Draft) -> Artifact:
    """Score the training rows with a provisional artifact, fill in what follows from the scores, and pass the gate."""
    provisional = _artifact(draft, 0.0, False, draft.rows[:1], np.zeros(1))
    loaded = scorer(provisional)
    scores = loaded.score(draft.rows)
    threshold = calibrate.threshold(scores, draft.alarm_rate) if draft.threshold is None else draft.threshold
    golden = choose(draft.rows, scores, draft.seed)
    bitwise = divergence(loaded, golden) is None
    artifact = _artifact(draft, threshold, bitwise, golden, loaded.score(golden))
    check(artifact, draft.features)
    return artifact


def _artifact(draft: _Draft, threshold: float, bitwise: bool, inputs: Float64, scores: Float64) -> Artifact:
    manifest = Manifest(
        v=1,
        name=draft.name,
        version=draft.version,
        kind=draft.kind,
        features=draft.features,
        score=draft.score,
        output=draft.output,
        threshold=threshold,
        alarm_rate=draft.alarm_rate if draft.threshold is None else None,
        tolerance=draft.tolerance,
        bitwise=bitwise,
        reference=statistics.reference(draft.rows),
        lineage=draft.lineage,
        digest=payload_digest(draft.parameters, draft.graph, inputs, scores),
    )
    return Artifact(manifest, draft.parameters, draft.graph, inputs, scores)


def training_rows(X: ArrayLike) -> Float64:
    """float64[n, F], C order. Raises InvalidSettings for another rank, fewer than 2 rows, or numbers not finite."""
    try:
        rows = np.ascontiguousarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidSettings(f"training rows are not numbers: {error}") from error
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[1]:
        raise InvalidSettings(f"training rows have shape {rows.shape}; allowed: (rows, features), at least 2 rows")
    if bad := np.argwhere(~np.isfinite(rows)).tolist():
        row, column = bad[0]
        raise InvalidSettings(f"training row {row}, column {column} is {rows[row, column]}; allowed: finite numbers")
    return rows


def _names(rows: Float64, features: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(features) if features is not None else tuple(f"x{index}" for index in range(rows.shape[1]))
    if len(names) != rows.shape[1]:
        raise InvalidArtifact(f"{len(names)} feature names for {rows.shape[1]} columns")
    return names


def _lineage(rows: Float64, seed: int, settings: Settings | None) -> Lineage:
    return lineage(data=[array_source(rows)], seed=seed, settings=settings)
