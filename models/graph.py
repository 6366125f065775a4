"""ONNX graphs as bytes: what is refused before a session exists, rule by rule.

External data has been a path-traversal hole several times, so a graph must hold all of its numbers itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from swapstream.models.errors import InvalidArtifact
from swapstream.models.graph_parts import nodes, sparse_tensors, tensors
from swapstream.models.magic import foreign

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
MAX_IR = 13
OPSETS = {"": (7, 26), "ai.onnx": (7, 26), "ai.onnx.ml": (1, 5)}
"""What the locked ONNX Runtime loads; below 7 operators broadcast in another way and most have no implementation."""
MAX_ELEMENTS = 16 * 2**20
"""Of one tensor, whatever wrote it down in how few bytes: 64 MB as float."""
GROWING = {"ConstantOfShape": 0, "Expand": 1}
"""Operators that make a tensor of any size, and which of their inputs says the shape."""
NAN_IS_A_WORD = "Imputer"
"""The operator whose attributes may say NaN: the value that is replaced."""
STRINGS = 8


class Rule(NamedTuple):
    """`find` takes an onnx.ModelProto, and says what it found or raises InvalidArtifact; `limit` is what is allowed."""

    name: str
    limit: str
    find: Callable[[Any], str]


def parse(data: bytes) -> Any:
    """The checked onnx.ModelProto.

    Raises InvalidArtifact: not ONNX, another opset, foreign or random operators, external data, numbers that are not finite
    or too many.
    """
    model = load(data)
    for rule in RULES:
        rule.find(model)
    return model


def load(data: bytes) -> Any:
    """The onnx.ModelProto, unchecked. Raises InvalidArtifact for bytes that are none."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError) as error:
        found = foreign(data) or _line(error)
        raise InvalidArtifact(f"graph of {len(data)} bytes is not an ONNX model: {found}", "graph") from error
    if not model.graph.node:
        raise InvalidArtifact(f"graph of {len(data)} bytes holds no operator", "graph")
    return model


def inlined(data: bytes) -> bytes:
    """The same model without functions of its own, as some exporters write: their domains would be foreign."""
    model = load(data)
    if not model.functions:
        return data
    from onnx.inliner import inline_local_functions

    inner: bytes = inline_local_functions(model).SerializeToString()
    return inner


def _opsets(model: Any) -> str:
    _within("IR version", model.ir_version, (1, MAX_IR))
    for one in model.opset_import:
        if one.domain in OPSETS:  # of another there is no operator, see _operators
            _within(f"opset of {one.domain or 'ai.onnx'}", one.version, OPSETS[one.domain])
    said = ", ".join(f"{one.domain or 'ai.onnx'} {one.version}" for one in model.opset_import)
    return f"IR {model.ir_version}; {said}"


def _within(what: str, found: int, allowed: tuple[int, int]) -> None:
    if not allowed[0] <= found <= allowed[1]:
        raise InvalidArtifact(f"graph {what} is {found}; allowed: {allowed[0]} to {allowed[1]}", "opset")


def _operators(model: Any) -> str:
    count = 0
    for node in nodes(model):
        count += 1
        if node.domain not in DOMAINS:
            raise InvalidArtifact(
                f"graph operator {node.op_type} is of domain {node.domain!r}; allowed: ai.onnx, ai.onnx.ml", "operators"
            )
        if node.op_type in RANDOM:
            raise InvalidArtifact(
                f"graph operator {node.op_type} draws random numbers; scores must be repeatable", "operators"
            )
    return f"{count} of ai.onnx and ai.onnx.ml"


def _external(model: Any) -> str:
    for name, tensor in tensors(model):
        if tensor.data_location == 1 or tensor.external_data:
            where = next((one.value for one in tensor.external_data if one.key == "location"), "")
            raise InvalidArtifact(
                f"graph tensor {name!r} lies in an external file {where!r:.100}; export the model with its data inside",
                "external",
            )
    return "none"


def _sizes(model: Any) -> str:
    """Looks at what is claimed, before anything of that size is made."""
    largest = 0
    for name, count in (*_claimed(model), *_grown(model)):
        if count > MAX_ELEMENTS:
            raise InvalidArtifact(f"graph tensor {name!r} is of {count} elements; allowed: {MAX_ELEMENTS}", "elements")
        largest = max(largest, count)
    return f"{largest} in the largest tensor"


def _claimed(model: Any) -> Iterator[tuple[str, int]]:
    for name, tensor in tensors(model):
        yield name, _count(tensor.dims)
    for sparse in sparse_tensors(model):
        yield sparse.values.name, _count(sparse.dims)


def _grown(model: Any) -> Iterator[tuple[str, int]]:
    """What operators make of a few numbers: ONNX Runtime would make it while it loads."""
    from onnx import numpy_helper

    shapes = {name: tensor for name, tensor in tensors(model) if tensor.data_type == 7 and _count(tensor.dims) < 64}
    for node in nodes(model):
        place = GROWING.get(node.op_type)
        if place is not None and len(node.input) > place and node.input[place] in shapes:
            try:
                yield node.output[0], _count(numpy_helper.to_array(shapes[node.input[place]]).tolist())
            except (ValueError, TypeError):
                continue  # can't be read: `_finite` says so


def _count(sizes: Iterable[int]) -> int:
    """Elements of a shape; a size of 0 or less, which means "any", counts as 1."""
    return math.prod(max(size, 1) for size in sizes)


def _finite(model: Any) -> str:
    count = 0
    for name, tensor in tensors(model):
        count += 1
        _check_tensor(tensor, name)
    for node in nodes(model):
        if node.op_type == NAN_IS_A_WORD:
            continue
        for attribute in node.attribute:
            if math.isnan(attribute.f) or np.isnan(np.asarray(attribute.floats)).any():
                raise InvalidArtifact(f"graph operator {node.op_type}: {attribute.name} holds NaN; allowed: numbers", "finite")
    return f"{count} tensors"


def _check_tensor(tensor: Any, name: str) -> None:
    from onnx import numpy_helper

    if tensor.data_type == STRINGS:
        return
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidArtifact(f"graph tensor {name!r} can't be read: {_line(error)}", "finite") from error
    if array.dtype.kind not in "fcV":  # V: the short floats of machine learning
        return
    # A lone infinity is a bound (Clip, a mask), among weights it is damage.
    if np.isnan(array).any() or (array.size > 1 and np.isinf(array).any()):
        raise InvalidArtifact(f"graph tensor {name!r} holds numbers that are not finite; allowed: finite ones", "finite")


RULES = (
    Rule("opset", f"IR up to {MAX_IR}; ai.onnx 7 to 26, ai.onnx.ml 1 to 5", _opsets),
    Rule("operators", "of ai.onnx and ai.onnx.ml, none random", _operators),
    Rule("external", "no tensor in another file", _external),
    Rule("elements", f"{MAX_ELEMENTS} a tensor", _sizes),
    Rule("finite", "finite numbers", _finite),
)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
