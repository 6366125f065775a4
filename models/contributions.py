"""Which features made a score high."""

from __future__ import annotations

import re

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.kinds.base import Scorer
from swapstream.models.manifest import Manifest

MAX_CELLS = 2**21  # of the perturbed rows held at a time: 16 MB
_AGE = re.compile(r"\[-\d+\]$")


def parts(manifest: Manifest) -> tuple[str, ...]:
    """What a score is explained by, G names: the features, or, of windows (T, F), the F fields over the whole window.

    A window is what is called so: `<field>[-k]`. A graph may take other features as a matrix, too.
    """
    if not manifest.shape:
        return manifest.features
    length, width = manifest.shape
    names = tuple(_AGE.sub("", name) for name in manifest.features)
    fields = names[-width:]
    return fields if names == fields * length and len(set(fields)) == width else manifest.features


def contributions(scorer: Scorer, rows: Float64, manifest: Manifest) -> Float64:
    """float64[k, G] for rows float64[k, K]: the score minus the score with part g at its reference median.

    One part at a time (an occlusion): features that only together make a row unusual show little each. G + 1 scores
    a row, so meant for anomalies only. Bits don't depend on which rows come together, as the scorer's don't.
    """
    width, count = rows.shape[1], len(parts(manifest))
    step = max(1, MAX_CELLS // (width * count))
    found = [_perturbed(scorer, rows[start : start + step], count, manifest) for start in range(0, len(rows), step)]
    with np.errstate(all="ignore"):
        shares: Float64 = scorer.score(rows)[:, None] - np.concatenate([np.empty((0, count)), *found])
    return shares


def _perturbed(scorer: Scorer, rows: Float64, count: int, manifest: Manifest) -> Float64:
    length, width = rows.shape
    perturbed = np.repeat(rows, count, axis=0).reshape(length, count, width // count, count)
    diagonal = np.arange(count)
    medians = np.array(manifest.reference.median).reshape(-1, count)
    perturbed[:, diagonal, :, diagonal] = medians.T[:, None, :]
    return scorer.score(perturbed.reshape(-1, width)).reshape(length, count)
