"""Arrays as bytes: [dtype, shape, little-endian bytes in C order]. Reading executes nothing and trusts no length."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from swapstream.models.errors import InvalidArtifact

Float64 = NDArray[np.float64]
Array = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64] | NDArray[np.int32]

DTYPES = ("<f8", "<f4", "<i8", "<i4")
MAX_RANK = 4


class Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An array on the wire."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def pack_array(array: Array) -> Packed:
    """The array's exact bits. Raises InvalidArtifact for a dtype other than DTYPES."""
    dtype = array.dtype.newbyteorder("<").str
    if dtype not in DTYPES:
        raise InvalidArtifact(f"array of dtype {array.dtype}: allowed are {', '.join(DTYPES)}")
    return Packed(dtype, array.shape, np.ascontiguousarray(array, dtype=dtype).tobytes())


def unpack_array(packed: Packed, name: str) -> Array:
    """The array, read-only. Raises InvalidArtifact where dtype, shape and length don't fit each other."""
    if packed.dtype not in DTYPES:
        raise InvalidArtifact(f"array {name!r}: dtype {packed.dtype!r}; allowed are {', '.join(DTYPES)}")
    if len(packed.shape) > MAX_RANK or any(size < 0 for size in packed.shape):
        raise InvalidArtifact(
            f"array {name!r}: shape {packed.shape}; allowed are at most {MAX_RANK} sizes of 0 or more"
        )
    wanted = math.prod(packed.shape) * int(packed.dtype[2:])
    if wanted != len(packed.data):
        raise InvalidArtifact(f"array {name!r}: {len(packed.data)} bytes; shape {packed.shape} needs {wanted}")
    return np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape)
