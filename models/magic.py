"""What bytes are that are no artifact, told by how they begin, so that a refusal can say it. Nothing is opened or run."""

from __future__ import annotations

import pickletools
from itertools import islice

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
    b"ZF": "zlib",
}
_BEGINNINGS = {
    b"PK\x03\x04": "a zip file, as .npz, .pt and .keras are",
    b"\x93NUMPY": "a .npy file",
    b"\x89HDF\r\n": "an HDF5 file",
    b"\x7fELF": "a program",
}
_LOOKED_AT = 4096
MAX_PROTOCOL = 5
MAX_OPERATIONS = 10_000


def foreign(data: bytes) -> str | None:
    """What these bytes are, in words; None where nothing is recognised."""
    head = data[:_LOOKED_AT]
    if not head:
        return "empty"
    return _pickle(data, head) or _compressed(head) or _graph(head) or _known(head)


def _pickle(data: bytes, head: bytes) -> str | None:
    protocol = _protocol(data)
    if protocol is None:
        return None
    writer = " of joblib's" if b"joblib" in head else ""
    return f"a pickle{writer} (protocol {protocol})"


def _protocol(data: bytes) -> str | None:
    if data[0] == 0x80 and len(data) > 1 and 2 <= data[1] <= MAX_PROTOCOL:
        return str(data[1])
    return "0 or 1" if _reads_as_operations(data) else None


def _reads_as_operations(data: bytes) -> bool:
    """Protocols 0 and 1 have no head: they are what reads as a pickle's operations to the end. None of them is carried out."""
    try:
        found = [operation.name for operation, _, _ in islice(pickletools.genops(data), MAX_OPERATIONS)]
    except (ValueError, OverflowError):
        return False
    return len(found) == MAX_OPERATIONS or found[-1] == "STOP"


def _compressed(head: bytes) -> str | None:
    """joblib compresses its pickles with any of these; what is inside is not looked at."""
    packer = next((name for start, name in _COMPRESSED.items() if head.startswith(start)), None)
    if packer is None and len(head) > 1 and head[0] == 0x78 and (head[0] << 8 | head[1]) % 31 == 0:
        packer = "zlib"
    return f"compressed by {packer}, as joblib's pickles are" if packer else None


def _graph(head: bytes) -> str | None:
    """Protocol buffers of a model begin with field 1, its IR version."""
    if len(head) > 2 and head[0] == 0x08 and 1 <= head[1] < 64 and head[2] in (0x12, 0x1A, 0x3A, 0x42):
        return "an ONNX graph, which `swapstream pack` makes an artifact of"
    return None


def _known(head: bytes) -> str | None:
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    return next((name for start, name in _BEGINNINGS.items() if head.startswith(start)), None)
