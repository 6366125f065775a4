"""What an ONNX model is made of, at every depth: branches and loops, functions, and what it was trained with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def nodes(model: Any) -> Iterator[Any]:
    """Every operator."""
    for function in model.functions:
        yield from function.node
    for graph in graphs(model):
        yield from graph.node


def tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor with a name to tell it by: weights, constants, attributes, the two halves of sparse ones."""
    for graph in graphs(model):
        yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for sparse in sparse_tensors(model):
        yield sparse.values.name, sparse.values
        yield f"{sparse.values.name}.indices", sparse.indices
    for node in nodes(model):
        for attribute in node.attribute:
            name = node.output[0] if node.op_type == "Constant" and node.output else f"{node.op_type}.{attribute.name}"
            yield from [(name, attribute.t)] if attribute.HasField("t") else []
            yield from ((name, tensor) for tensor in attribute.tensors)


def sparse_tensors(model: Any) -> Iterator[Any]:
    """Every tensor of which only some elements are written down."""
    for graph in graphs(model):
        yield from graph.sparse_initializer
    for node in nodes(model):
        for attribute in node.attribute:
            yield from [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            yield from attribute.sparse_tensors


def graphs(model: Any) -> Iterator[Any]:
    """The graph, those it was trained with, and those inside If, Loop and Scan, in functions as well."""
    waiting = [model.graph, *(graph for info in model.training_info for graph in (info.initialization, info.algorithm))]
    waiting += [inner for function in model.functions for inner in _inner(function.node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += _inner(graph.node)


def _inner(found: Any) -> Iterator[Any]:
    for node in found:
        for attribute in node.attribute:
            yield from [attribute.g] if attribute.HasField("g") else []
            yield from attribute.graphs
