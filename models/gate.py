"""The gate: what a model must show before it may score a record (DESIGN, C3), on every shard."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.bitwise import divergence
from swapstream.models.blocks import BLOCK
from swapstream.models.errors import InvalidArtifact, Rejected, UnknownName
from swapstream.models.kinds import Scorer, scorer

BUDGET = 0.5  # seconds for a block of 64 rows, the best of TRIES
TRIES = 3


def check(artifact: Artifact, features: Sequence[str] | None = None, budget: float = BUDGET) -> Scorer:
    """The loaded, checked and warmed scorer. `features`: what the plan's extractor yields, in order; None: don't check.

    Raises Rejected, whose line is `<name:version>: <check>: <value found>; <what is wanted>`. Checks, in order: digest,
    features, load (kind, parameters, graph), golden (scores within the manifest's tolerance), bitwise (where promised),
    budget (seconds for a block of 64 rows).
    """
    _digest(artifact)
    _features(artifact, features)
    loaded = _load(artifact)
    _golden(artifact, loaded)
    _bitwise(artifact, loaded)
    _budget(artifact, loaded, budget)
    return loaded


def _digest(artifact: Artifact) -> None:
    found = payload_digest(artifact.parameters, artifact.graph, artifact.golden_inputs, artifact.golden_scores)
    if found != artifact.manifest.digest:
        _reject(artifact, "digest", found, f"the manifest says {artifact.manifest.digest}")


def _features(artifact: Artifact, features: Sequence[str] | None) -> None:
    wanted = artifact.manifest.features
    if features is None or tuple(features) == wanted:
        return
    for index, (have, want) in enumerate(zip(features, wanted, strict=False)):
        if have != want:
            _reject(artifact, "features", f"column {index} is {have!r}", f"the model reads {want!r} there")
    _reject(artifact, "features", f"{len(features)} columns", f"the model reads {len(wanted)}: {', '.join(wanted)}")


def _load(artifact: Artifact) -> Scorer:
    try:
        return scorer(artifact)
    except (InvalidArtifact, UnknownName) as error:
        raise Rejected(f"{artifact.ref}: load: {error}") from error


def _golden(artifact: Artifact, loaded: Scorer) -> None:
    wanted, tolerance = artifact.golden_scores, artifact.manifest.tolerance
    if not (np.isfinite(wanted).all() and np.isfinite(artifact.golden_inputs).all()):
        _reject(artifact, "golden", "vectors that are not finite", "finite numbers")
    found = loaded.score(artifact.golden_inputs)
    if found.shape != wanted.shape:
        _reject(artifact, "golden", f"scores of shape {found.shape}", f"{wanted.shape}, one a row")
    if wrong := np.flatnonzero(~close(found, wanted, tolerance)).tolist():
        row = wrong[0]
        _reject(
            artifact, "golden", f"row {row} scores {found[row]!r}", f"the trainer's {wanted[row]!r} within {tolerance}"
        )


def close(found: Float64, wanted: Float64, tolerance: float) -> np.typing.NDArray[np.bool_]:
    """Which scores agree, relative to the wanted one or, where that is near zero, to the median. NaN never does."""
    scale = np.maximum(np.abs(wanted), np.median(np.abs(wanted)))
    with np.errstate(invalid="ignore"):
        agrees: np.typing.NDArray[np.bool_] = np.abs(found - wanted) <= tolerance * scale
    return agrees


def _bitwise(artifact: Artifact, loaded: Scorer) -> None:
    if not artifact.manifest.bitwise:
        return
    row = divergence(loaded, artifact.golden_inputs)
    if row is not None:
        _reject(
            artifact,
            "bitwise",
            f"the bits of golden row {row} depend on the batch",
            "the manifest promises that none do",
        )


def _budget(artifact: Artifact, loaded: Scorer, budget: float) -> None:
    rows = np.resize(artifact.golden_inputs, (BLOCK, artifact.golden_inputs.shape[1]))
    seconds = min(_timed(loaded, rows) for _ in range(TRIES))
    if seconds > budget:
        _reject(artifact, "budget", f"{seconds:.3f} s for {BLOCK} rows", f"at most {budget} s")


def _timed(loaded: Scorer, rows: Float64) -> float:
    start = time.perf_counter()
    loaded.score(rows)
    return time.perf_counter() - start


def _reject(artifact: Artifact, check: str, found: str, wanted: str) -> None:
    raise Rejected(f"{artifact.ref}: {check}: {found}; {wanted}")
