"""The numbers of a model, by name: those of a native kind, and the floating-point tensors of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from swapstream.models.arrays import Array
from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact
from swapstream.models.graph import parse
from swapstream.models.kinds.base import Fitted
from swapstream.models.signature import DTYPES


def numbers(artifact: Artifact) -> dict[str, Array]:
    """The numbers that another version of the same structure has to bring: names, shapes and dtypes are the structure."""
    if artifact.graph is None:
        return dict(artifact.parameters)
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in _tensors(parse(artifact.graph))}


def with_numbers(artifact: Artifact, given: Mapping[str, NDArray[Any]]) -> Fitted:
    """The same model with other numbers. Raises InvalidArtifact, naming the first that is missing, unknown or another sort."""
    _check(artifact, given)
    said = artifact.manifest
    fitted = Fitted(words=said.words, score=said.score, output=said.output)
    if artifact.graph is None:
        return msgspec.structs.replace(fitted, parameters={name: given[name] for name in artifact.parameters})
    return msgspec.structs.replace(fitted, graph=_replaced(artifact.graph, given))


def _check(artifact: Artifact, given: Mapping[str, NDArray[Any]]) -> None:
    wanted = numbers(artifact)
    names = ", ".join(wanted) or "none"
    for name in given:
        if name not in wanted:
            raise InvalidArtifact(f"{artifact.ref}: unknown parameter {name!r}; allowed: {names}")
    for name, array in wanted.items():
        if name not in given:
            raise InvalidArtifact(f"{artifact.ref}: parameter {name!r} is missing; needed: {names}")
        found = given[name]
        if found.dtype != array.dtype or found.shape != array.shape:
            raise InvalidArtifact(
                f"{artifact.ref}: parameter {name!r} is {found.dtype}{found.shape}; allowed is {array.dtype}{array.shape}"
            )
        if not np.isfinite(found).all():
            raise InvalidArtifact(f"{artifact.ref}: parameter {name!r} must be finite")


def _replaced(graph: bytes, given: Mapping[str, NDArray[Any]]) -> bytes:
    from onnx import numpy_helper

    model = parse(graph)
    for tensor in _tensors(model):
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(given[tensor.name]), tensor.name))
    changed: bytes = model.SerializeToString(deterministic=True)
    return changed


def _tensors(model: Any) -> list[Any]:
    return [tensor for tensor in model.graph.initializer if tensor.data_type in DTYPES]
