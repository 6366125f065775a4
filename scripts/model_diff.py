"""What is different between two models: manifest, lineage, numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from swapstream.models.arrays import Array
from swapstream.models.artifact import Artifact
from swapstream.models.numbers import numbers

FLAT = ("lineage", "structure", "metrics", "settings", "libraries")
"""Parts of a manifest that are shown key by key."""
LEFT_OUT = ("v", "digest", "reference", "features", "data", "name")


def diff(one: Artifact, other: Artifact) -> list[dict[str, Any]]:
    """A row for each part that differs: `part`, `before`, `after`, None where there is none."""
    before, after = described(one), described(other)
    rows = [
        {"part": part, "before": before.get(part), "after": after.get(part)}
        for part in {**before, **after}
        if before.get(part) != after.get(part)
    ]
    return [*rows, *_features(one, other), *_reference(one, other), *_numbers(one, other)]


def described(artifact: Artifact) -> dict[str, Any]:
    """A manifest as one level of names and values."""
    manifest = msgspec.to_builtins(artifact.manifest)
    data = [str(source) for source in artifact.manifest.lineage.data]
    return {"model": artifact.ref, "digest": artifact.digest} | dict(_flat("", manifest)) | {f"data.{i}": one for i, one in enumerate(data)}


def _flat(prefix: str, said: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in said.items():
        if key in FLAT and isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        elif key not in LEFT_OUT:
            yield prefix + key, value


def _features(one: Artifact, other: Artifact) -> Iterator[dict[str, Any]]:
    before, after = one.manifest.features, other.manifest.features
    if set(before) == set(after) and before != after:
        yield {"part": "features", "before": _few(before), "after": _few(after)}
    elif before != after:
        gone, new = [name for name in before if name not in after], [name for name in after if name not in before]
        yield {"part": "features", "before": _few(gone) or "all of the others'", "after": _few(new) or "fewer"}


def _few(names: Any) -> str:
    return ", ".join(names[:8]) + (f", … {len(names)} in all" if len(names) > 8 else "")


def _reference(one: Artifact, other: Artifact) -> Iterator[dict[str, Any]]:
    """Of the training rows' statistics that of each feature which moved most, in deviations of the first model's."""
    if one.manifest.features != other.manifest.features:
        return
    old, new = one.manifest.reference, other.manifest.reference
    scale = np.maximum(np.abs(np.array(old.deviation)), np.finfo(float).tiny)
    moved = np.abs(np.array(new.mean) - np.array(old.mean)) / scale
    place = int(np.argmax(moved))
    if moved[place] > 0:
        yield {"part": f"training mean of {one.manifest.features[place]}", "before": f"{old.mean[place]:.6g}",
               "after": f"{new.mean[place]:.6g} ({moved[place]:.2g} deviations, the most of all features)"}  # fmt: skip


def _numbers(one: Artifact, other: Artifact) -> Iterator[dict[str, Any]]:
    if one.manifest.kind != other.manifest.kind:
        return
    before, after = numbers(one), numbers(other)
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old is None or new is None or old.dtype != new.dtype or old.shape != new.shape:
            yield {"part": f"parameter {name}", "before": _kind(old), "after": _kind(new)}
        elif not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
            most = f"{np.abs(new.astype(float) - old.astype(float)).max():.6g}" if old.dtype.kind in "fiu" else "some"
            yield {"part": f"parameter {name}", "before": _kind(old), "after": f"differs by at most {most}"}


def _kind(array: Array | None) -> str | None:
    return None if array is None else f"{array.dtype}{list(array.shape)}"
