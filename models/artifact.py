"""The artifact: a manifest and a model's numbers, as bytes that are the same for the same model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property

import msgspec
import numpy as np

from swapstream.models.arrays import Array, Float64, Packed, pack_array, unpack_array
from swapstream.models.errors import InvalidArtifact
from swapstream.models.magic import foreign
from swapstream.models.manifest import Manifest

MAX_BYTES = 64 * 2**20
MAX_MANIFEST = 8 * 2**20
MAX_GOLDEN = 64
MAX_ARRAYS = 64
VERSION = 1

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parameters: dict[str, Packed]
    graph: bytes | None
    golden_inputs: Packed
    golden_scores: Packed


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    manifest: Manifest
    payload: _Payload


_DECODER = msgspec.msgpack.Decoder(_Wire)


def payload_digest(
    parameters: Mapping[str, Array], graph: bytes | None, golden_inputs: Float64, golden_scores: Float64
) -> str:
    """SHA-256 (hex) of the numbers: what `Manifest.digest` must say."""
    return _sha256(_ENCODER.encode(_pack(parameters, graph, golden_inputs, golden_scores)))


class Artifact(msgspec.Struct, frozen=True, dict=True, eq=False):
    """An immutable model. `golden_inputs` float64[g, F] are rows, `golden_scores` float64[g] the trainer's scores of them.

    Either `parameters` (native kinds) or `graph` (the bytes of an ONNX model) holds the numbers. Never a pickle.
    """

    manifest: Manifest
    parameters: Mapping[str, Array]
    graph: bytes | None
    golden_inputs: Float64
    golden_scores: Float64

    def __post_init__(self) -> None:
        wanted = (len(self.golden_scores), len(self.manifest.features))
        if self.golden_inputs.shape != wanted or self.golden_scores.ndim != 1 or not 1 <= wanted[0] <= MAX_GOLDEN:
            raise InvalidArtifact(
                f"artifact {self.ref}: golden inputs {self.golden_inputs.shape} and scores {self.golden_scores.shape};"
                f" allowed are 1 to {MAX_GOLDEN} rows of {len(self.manifest.features)} features",
                "golden",
            )

    @property
    def ref(self) -> str:
        """name:version."""
        return self.manifest.ref

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of `encode()`: the artifact's identity."""
        return _sha256(self.encode())

    def encode(self) -> bytes:
        """Deterministic msgpack: equal artifacts give equal bytes."""
        payload = _pack(self.parameters, self.graph, self.golden_inputs, self.golden_scores)
        return _ENCODER.encode(_Wire(VERSION, self.manifest, payload))

    @classmethod
    def decode(cls, data: bytes) -> Artifact:
        """The artifact of these bytes, bit for bit. Raises InvalidArtifact for what `encode` would not have written.

        Bytes can't make it take more memory than a few times their own size.
        """
        if len(data) > MAX_BYTES:
            raise InvalidArtifact(f"artifact of {len(data)} bytes; allowed are {MAX_BYTES}", "size")
        artifact = _unpack(_decode(data))
        if artifact.encode() != data:
            raise InvalidArtifact(
                f"artifact {artifact.ref}: bytes in another order; allowed is the canonical one", "format"
            )
        return artifact


def _pack(
    parameters: Mapping[str, Array], graph: bytes | None, golden_inputs: Float64, golden_scores: Float64
) -> _Payload:
    arrays = {name: pack_array(array) for name, array in parameters.items()}
    return _Payload(arrays, graph, pack_array(golden_inputs), pack_array(golden_scores))


def _decode(data: bytes) -> _Wire:
    try:
        wire = _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        found = foreign(data) or " ".join(str(error).split()) or type(error).__name__
        raise InvalidArtifact(f"not an artifact: {found}; allowed is what swapstream wrote, never a pickle", "format") from error
    if wire.v != VERSION:
        raise InvalidArtifact(f"artifact version {wire.v}; this release reads {VERSION}", "format")
    _check_sizes(wire)
    found = _sha256(_ENCODER.encode(wire.payload))
    if found != wire.manifest.digest:
        raise InvalidArtifact(
            f"artifact {wire.manifest.ref}: numbers have digest {found}; its manifest says {wire.manifest.digest!r:.100}",
            "digest",
        )
    return wire


def _check_sizes(wire: _Wire) -> None:
    if (arrays := len(wire.payload.parameters)) > MAX_ARRAYS:
        raise InvalidArtifact(f"artifact of {arrays} arrays; allowed are {MAX_ARRAYS}", "size")
    if (size := len(_ENCODER.encode(wire.manifest))) > MAX_MANIFEST:
        raise InvalidArtifact(f"manifest of {size} bytes; allowed are {MAX_MANIFEST}", "size")


def _unpack(wire: _Wire) -> Artifact:
    payload = wire.payload
    parameters = {name: unpack_array(packed, name) for name, packed in payload.parameters.items()}
    golden = (_float64(payload.golden_inputs, "golden_inputs"), _float64(payload.golden_scores, "golden_scores"))
    return Artifact(wire.manifest, parameters, payload.graph, *golden)


def _float64(packed: Packed, name: str) -> Float64:
    array = unpack_array(packed, name)
    if array.dtype != np.float64:
        raise InvalidArtifact(f"array {name!r}: dtype {packed.dtype!r}; allowed is <f8", "golden")
    return array.astype(np.float64, copy=False)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
