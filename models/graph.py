"""ONNX graphs as bytes: what is refused before a session exists, and where rows go in and scores come out.

External data has been a path-traversal hole several times, so a graph must hold all of its numbers itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from swapstream.models.errors import InvalidArtifact

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
DTYPES = {1: "float32", 11: "float64"}  # TensorProto.FLOAT, DOUBLE


class Signature(msgspec.Struct, frozen=True):
    """`shape`: one batch of the input; `dtype`: what the input is read as; `block`: rows in it."""

    input: str
    dtype: str
    shape: tuple[int, ...]
    output: str

    @property
    def block(self) -> int:
        return self.shape[0]


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


def signature(model: Any, width: int, output: str | None, block: int) -> Signature:
    """Where `width` features go in, as [n, width], [n, 1, width] or [n, width, 1], and which output is read.

    `output` None: the only one of floating point. `block`: rows a batch, unless the graph has its own size.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InvalidArtifact(f"graph has {len(inputs)} inputs ({names}); allowed: one, of all features")
    dtype, shape = _tensor(inputs[0], "input")
    return Signature(inputs[0].name, dtype, _batch(inputs[0].name, shape, width, block), _output(model, output))


def _batch(name: str, shape: tuple[int | None, ...], width: int, block: int) -> tuple[int, ...]:
    if len(shape) not in (2, 3):
        raise InvalidArtifact(f"graph input {name!r} has rank {len(shape)}; allowed: [n, {width}] or [n, 1, {width}]")
    cells = shape[1:] if None not in shape[1:] else (width,) if len(shape) == 2 else (1, width)
    known = [size for size in cells if size is not None]
    if int(np.prod(known)) != width or max(known) != width:
        raise InvalidArtifact(
            f"graph input {name!r} takes {_show(shape)}; {width} features need [n, {width}] or [n, 1, {width}]"
        )
    return (shape[0] or block, *known)


def _output(model: Any, wanted: str | None) -> str:
    outputs = {value.name: value for value in model.graph.output}
    names = ", ".join(outputs)
    floats = [name for name, value in outputs.items() if value.type.tensor_type.elem_type in DTYPES]
    if wanted is None and len(floats) != 1:
        raise InvalidArtifact(f"graph has {len(floats)} outputs of float or double; say which is the score: {names}")
    name = wanted if wanted is not None else floats[0]
    if name not in outputs:
        raise InvalidArtifact(f"graph has no output {name!r}; there are: {names}")
    _tensor(outputs[name], "output")
    return name


def _tensor(value: Any, what: str) -> tuple[str, tuple[int | None, ...]]:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise InvalidArtifact(f"graph {what} {value.name!r} is of type {kind}; allowed: a tensor of float or double")
    tensor = value.type.tensor_type
    if tensor.elem_type not in DTYPES:
        raise InvalidArtifact(
            f"graph {what} {value.name!r} has element type {tensor.elem_type}; allowed: 1 (float), 11 (double)"
        )
    dims = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return DTYPES[tensor.elem_type], dims


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


def _show(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("n" if size is None else str(size) for size in shape) + "]"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
