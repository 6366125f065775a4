"""The gate's checks of a decoded model: each says what it found, or raises InvalidArtifact, `<value>; <what is allowed>`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import MAX_BYTES, Artifact, payload_digest
from swapstream.models.bitwise import divergence
from swapstream.models.blocks import BLOCK
from swapstream.models.errors import InvalidArtifact
from swapstream.models.graph import MAX_ELEMENTS
from swapstream.models.kinds import Scorer

BUDGET = 0.5  # seconds for a block of 64 rows, the best of TRIES
TRIES = 3
HOPELESS = 2  # times the budget: no second try



def size(artifact: Artifact) -> str:
    arrays = (*artifact.parameters.values(), artifact.golden_inputs, artifact.golden_scores)
    size = sum(array.nbytes for array in arrays) + len(artifact.graph or b"")
    if size > MAX_BYTES:
        raise InvalidArtifact(f"{size} bytes; allowed are {MAX_BYTES}")
    return f"{size} bytes"


def digest(artifact: Artifact) -> str:
    found = payload_digest(artifact.parameters, artifact.graph, artifact.golden_inputs, artifact.golden_scores)
    if found != artifact.manifest.digest:
        raise InvalidArtifact(f"{found}; the manifest says {artifact.manifest.digest}")
    return found


def features(artifact: Artifact, features: Sequence[str]) -> str:
    wanted = artifact.manifest.features
    for index, (have, want) in enumerate(zip(features, wanted, strict=False)):
        if have != want:
            raise InvalidArtifact(f"column {index} is {have!r}; the model reads {want!r} there")
    if len(features) != len(wanted):
        raise InvalidArtifact(f"{len(features)} columns; the model reads {len(wanted)}: {', '.join(wanted)}")
    return f"{len(wanted)} columns"


def budget(artifact: Artifact, loaded: Scorer, budget: float) -> str:
    rows = np.resize(artifact.golden_inputs, (BLOCK, artifact.golden_inputs.shape[1]))
    best = float("inf")
    for _ in range(TRIES):
        best = min(best, _timed(loaded, rows))
        if best <= budget or best > HOPELESS * budget:
            break
    if best > budget:
        raise InvalidArtifact(f"{best:.3f} s for {BLOCK} rows; at most {budget} s")
    return f"{best:.4f} s"


def _timed(loaded: Scorer, rows: Float64) -> float:
    start = time.perf_counter()
    loaded.score(rows)
    return time.perf_counter() - start


def golden(artifact: Artifact, loaded: Scorer) -> str:
    wanted, tolerance = artifact.golden_scores, artifact.manifest.tolerance
    if not (np.isfinite(wanted).all() and np.isfinite(artifact.golden_inputs).all()):
        raise InvalidArtifact("vectors that are not finite; finite numbers")
    found = loaded.score(artifact.golden_inputs)
    if found.shape != wanted.shape:
        raise InvalidArtifact(f"scores of shape {found.shape}; {wanted.shape}, one a row", "output")
    if wrong := np.flatnonzero(~close(found, wanted, tolerance)).tolist():
        row = wrong[0]
        raise InvalidArtifact(f"row {row} scores {found[row]:.9g}; the trainer's {wanted[row]:.9g} within {tolerance}")
    return f"{len(wanted)} rows"


def close(found: Float64, wanted: Float64, tolerance: float) -> np.typing.NDArray[np.bool_]:
    """Which scores agree, relative to the wanted one or, where that is near zero, to the median. NaN never does."""
    scale = np.maximum(np.abs(wanted), np.median(np.abs(wanted)))
    with np.errstate(invalid="ignore"):
        agrees: np.typing.NDArray[np.bool_] = np.abs(found - wanted) <= tolerance * scale
    return agrees


def bitwise(artifact: Artifact, loaded: Scorer) -> str:
    if not artifact.manifest.bitwise:
        return "not promised"
    row = divergence(loaded, artifact.golden_inputs)
    if row is not None:
        raise InvalidArtifact(f"the bits of golden row {row} depend on the batch; the manifest promises that none do")
    return "equal under random splits and shifts"


def parameters(artifact: Artifact) -> str:
    """Of a native kind. Which there are, and their shapes, the kind itself looks at."""
    for name, array in artifact.parameters.items():
        if array.size > MAX_ELEMENTS:
            raise InvalidArtifact(f"parameter {name!r} is of {array.size} elements; allowed: {MAX_ELEMENTS}", "elements")
        if (wrong := array[~np.isfinite(array)]).size:
            raise InvalidArtifact(f"parameter {name!r} holds {wrong[0]}; allowed: finite numbers", "finite")
    return ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in artifact.parameters.items())
