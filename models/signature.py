"""Signatures of ONNX graphs: where rows of features go in, and where scores come out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from swapstream.models.errors import InvalidArtifact

DTYPES = {1: "float32", 11: "float64"}  # TensorProto.FLOAT, DOUBLE


class Signature(msgspec.Struct, frozen=True):
    """`shape`: one batch of the input; `dtype`: what the input is read as; `window`: (T, F) if a row is one, else ()."""

    input: str
    dtype: str
    shape: tuple[int, ...]
    window: tuple[int, ...]
    output: str

    @property
    def block(self) -> int:
        """Rows in a batch."""
        return self.shape[0]


def signature(model: Any, width: int, output: str | None, block: int, window: tuple[int, ...] = ()) -> Signature:
    """Where `width` features go in, and which output is read.

    An input is [n, width], [n, 1, width] or [n, width, 1]; or, where a row is a `window` of (T, F), [n, T, F]. Sizes of 1
    more don't matter. Without `window` it follows from the input's own sizes. `output` None: the only one of floating
    point. `block`: rows a batch, unless the graph has its own size.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InvalidArtifact(f"graph has {len(inputs)} inputs ({names}); allowed: one, of all features")
    dtype, sizes = _tensor(inputs[0], "input")
    cells = _cells(inputs[0].name, sizes, width, window)
    if not window and len(inner := tuple(size for size in cells if size > 1)) == 2:
        window = inner
    return Signature(inputs[0].name, dtype, (sizes[0] or block, *cells), window, _output(model, output))


def _cells(name: str, sizes: tuple[int | None, ...], width: int, window: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of one row of the input: the first allowed ones that agree with those the graph fixes."""
    fixed = sizes[1:]
    for cells in _allowed(fixed, width, window):
        if len(cells) == len(fixed) and all(has in (None, cell) for has, cell in zip(fixed, cells, strict=True)):
            return cells
    wanted = f"[n, {', '.join(map(str, window))}]" if window else f"[n, {width}] or [n, 1, {width}]"
    what = "a window of" if window else f"{width} features need"
    hint = ""
    if window and fixed == window[::-1]:
        hint = "; put a Transpose in front"
    raise InvalidArtifact(f"graph input {name!r} takes {_show(sizes)}; {what} {wanted}{hint}")


def _allowed(fixed: tuple[int | None, ...], width: int, window: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if window:
        yield from (window, (1, *window), (*window, 1))
    yield from ((width,), (1, width), (width, 1), (1, 1, width))
    if not window and len(fixed) == 2:
        length, fields = fixed
        if fields and width % fields == 0:
            yield width // fields, fields
        elif length and width % length == 0:
            yield length, width // length


def _output(model: Any, wanted: str | None) -> str:
    outputs = {value.name: value for value in model.graph.output}
    names = ", ".join(outputs)
    floats = [name for name, value in outputs.items() if value.type.tensor_type.elem_type in DTYPES]
    if wanted is None and len(floats) != 1:
        for name, value in outputs.items():
            _refuse_maps(name, value)
        raise InvalidArtifact(f"graph has {len(floats)} outputs of float or double; say which is the score: {names}")
    name = wanted if wanted is not None else floats[0]
    if name not in outputs:
        raise InvalidArtifact(f"graph has no output {name!r}; there are: {names}")
    _refuse_maps(name, outputs[name])
    _tensor(outputs[name], "output")
    return name


def _refuse_maps(name: str, value: Any) -> None:
    """What skl2onnx's classifiers yield unless told otherwise."""
    if value.type.WhichOneof("value") == "sequence_type":
        raise InvalidArtifact(
            f"graph output {name!r} is a list of maps (ZipMap); allowed: a tensor: convert with options={{'zipmap': False}}"
        )


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


def _show(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("n" if size is None else str(size) for size in shape) + "]"
