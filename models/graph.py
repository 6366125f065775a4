"""ONNX graphs as bytes: what is refused before a session exists.

External data has been a path-traversal hole several times, so a graph must hold all of its numbers itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from swapstream.models.errors import InvalidArtifact

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)


def parse(data: bytes) -> Any:
    """The checked onnx.ModelProto.

    Raises InvalidArtifact: not ONNX, external data, foreign or random operators, numbers that are not finite.
    """
    model = _load(data)
    for graph in (*_graphs(model.graph), *(info.algorithm for info in model.training_info)):
        _check_initializers(graph)
        _check_nodes(graph.node)
    for function in model.functions:
        _check_nodes(function.node)
    return model


def inlined(data: bytes) -> bytes:
    """The same model without functions of its own, as some exporters write: their domains would be foreign."""
    model = _load(data)
    if not model.functions:
        return data
    from onnx.inliner import inline_local_functions

    inner: bytes = inline_local_functions(model).SerializeToString()
    return inner


def _load(data: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise InvalidArtifact(f"graph of {len(data)} bytes is not an ONNX model: {_line(error)}") from error
    if not model.graph.node:
        raise InvalidArtifact(f"graph of {len(data)} bytes holds no operator")
    return model


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and those inside If, Loop and Scan."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _check_nodes(nodes: Any) -> None:
    for node in nodes:
        if node.domain not in DOMAINS:
            raise InvalidArtifact(
                f"graph operator {node.op_type} is of domain {node.domain!r}; allowed: ai.onnx, ai.onnx.ml"
            )
        if node.op_type in RANDOM:
            raise InvalidArtifact(f"graph operator {node.op_type} draws random numbers; scores must be repeatable")
        for attribute in node.attribute:
            for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
                _check_tensor(tensor, f"{node.op_type}.{attribute.name}")


def _check_initializers(graph: Any) -> None:
    for tensor in graph.initializer:
        _check_tensor(tensor, tensor.name)
    for sparse in graph.sparse_initializer:
        _check_tensor(sparse.values, sparse.values.name)
        _check_tensor(sparse.indices, sparse.indices.name)


def _check_tensor(tensor: Any, name: str) -> None:
    from onnx import numpy_helper

    if tensor.data_location == 1 or tensor.external_data:
        raise InvalidArtifact(f"graph tensor {name!r} lies in an external file; export the model with its data inside")
    if tensor.data_type == 8:  # strings
        return
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidArtifact(f"graph tensor {name!r} can't be read: {_line(error)}") from error
    # A lone infinity is a bound (Clip, a mask), among weights it is damage.
    if array.dtype.kind == "f" and (np.isnan(array).any() or (array.size > 1 and np.isinf(array).any())):
        raise InvalidArtifact(f"graph tensor {name!r} holds numbers that are not finite")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
