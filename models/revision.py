"""The next version of a model: the same structure, other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from swapstream.models import calibrate, statistics
from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.bitwise import divergence
from swapstream.models.build import training_rows
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.gate import check
from swapstream.models.kinds import scorer
from swapstream.models.lineage import lineage, parameters_source
from swapstream.models.manifest import Lineage, version_of
from swapstream.models.numbers import with_numbers


def revise(
    parent: Artifact,
    parameters: Mapping[str, NDArray[Any]],
    *,
    version: int | None = None,
    threshold: float | None = None,
    sample: ArrayLike | None = None,
    alarm_rate: float | None = None,
    lineage: Lineage | None = None,
) -> Artifact:
    """`parent` with these numbers instead of its own: names, shapes and dtypes must be the same.

    `version`      one more than the parent's, unless given
    `threshold`    the parent's, unless given, or calibrated on `sample`
    `sample`       typical rows float64[n, K] or windows [n, T, F]: the threshold is calibrated on them, and the reference
                   statistics are theirs
    `alarm_rate`   share of the sample above the threshold [the parent's, else 0.001]

    The golden rows stay, their scores are computed anew. Raises InvalidArtifact, InvalidSettings, and Rejected by the gate.
    """
    fitted = with_numbers(parent, parameters)
    if sample is None and alarm_rate is not None:
        raise InvalidSettings("an alarm rate needs a sample to calibrate the threshold on")
    if sample is not None and threshold is not None:
        raise InvalidSettings("a threshold and a sample to calibrate it on are given; allowed: one of them")
    said = parent.manifest
    changes: dict[str, Any] = {
        "version": version or said.version + 1,
        "lineage": lineage or _lineage(parent, parameters),
        "threshold": said.threshold if threshold is None else threshold,
        "alarm_rate": None,
        "reference": msgspec.structs.replace(said.reference, scores=None),  # those were of other numbers
    }
    draft = msgspec.structs.replace(parent, parameters=fitted.parameters, graph=fitted.graph)
    if sample is not None:
        changes |= _calibrated(draft, sample, alarm_rate)
    made = _finished(draft, changes)
    check(made, said.features)
    return made


def _calibrated(draft: Artifact, sample: ArrayLike, alarm_rate: float | None) -> dict[str, Any]:
    rows, _ = training_rows(sample, draft.manifest.shape)
    if rows.shape[1] != len(draft.manifest.features):
        raise InvalidSettings(f"sample of {rows.shape[1]} columns; {draft.ref} takes {len(draft.manifest.features)}")
    rate = draft.manifest.alarm_rate if alarm_rate is None else alarm_rate
    rate = calibrate.ALARM_RATE if rate is None else rate
    scores = scorer(draft).score(rows)
    return {
        "threshold": calibrate.threshold(scores, rate),
        "alarm_rate": rate,
        "reference": statistics.reference(rows, scores),
    }


def _finished(draft: Artifact, changes: dict[str, Any]) -> Artifact:
    loaded = scorer(draft)
    golden: Float64 = loaded.score(draft.golden_inputs)
    if not np.isfinite(golden).all():
        raise InvalidArtifact(f"{draft.ref}: with these parameters golden scores are not finite")
    changes["bitwise"] = divergence(loaded, draft.golden_inputs) is None
    changes["digest"] = payload_digest(draft.parameters, draft.graph, draft.golden_inputs, golden)
    changes["v"] = version_of(draft.manifest.structure, changes["lineage"], changes["reference"])
    manifest = msgspec.structs.replace(draft.manifest, **changes)
    return msgspec.structs.replace(draft, manifest=manifest, golden_scores=golden)


def _lineage(parent: Artifact, parameters: Mapping[str, NDArray[Any]]) -> Lineage:
    return lineage(data=[parameters_source(parameters)], parent=parent.ref, extractor=parent.manifest.lineage.extractor)
