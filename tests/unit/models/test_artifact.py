"""Artifacts as bytes: exact, deterministic, readable for ever, and safe to read from anybody."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapstream.models import train
from swapstream.models.arrays import Packed, pack_array, unpack_array
from swapstream.models.artifact import MAX_BYTES, Artifact
from swapstream.models.build import with_metrics
from swapstream.models.errors import InvalidArtifact
from swapstream.models.gate import check
from swapstream.models.kinds import scorer
from swapstream.models.manifest import Source, Structure
from tests.unit.models.examples import LINEAGE, make

HERE = Path(__file__).parent
DIGESTS = {
    "zscore.v1.artifact": "0a60e3f739427d58e7c5fee0d695be17caf3a369676001640bb316204ffdf625",
    "onnx.v1.artifact": "4909d3b61b853fcc7dfc0ebcbcd55242c978e63aa713a98901610ab242a9992d",
    "rules.v2.artifact": "ac8c25624a12ad5cf46e6d811b7a94165e64bef18d408e4afd70c192911249ce",
    "windows.v2.artifact": "712d2ced893131239cc32c76a1a286eef5fa2d7c601f670ac899768e32324a9b",
    "rules.v3.artifact": "a4eb64f5bb632bde0c6c44a505d29897be2dd72e90394568dd67a0377969c94b",
}


def integers() -> Artifact:
    """A model whose numbers are exact on every machine."""
    return train("zscore", [[0.0, 10.0], [4.0, 30.0]], ["t", "p"], name="exact", version=3, alarm_rate=0.0, lineage=LINEAGE)


def telling() -> Artifact:
    """One that says how its scores lie, what it showed, and of which telemetry it was made: exact on every machine."""
    rows = [[float(i % 16), 2.0 * (i % 16)] for i in range(1, 161)]
    made = msgspec.structs.replace(LINEAGE, data=(Source("telemetry", "t", "0" * 64, 160, 2, 10, 190),))
    settings = {"rules": "t > 8: 2; p > 4: 0.5"}
    artifact = train("rules", rows, ["t", "p"], name="exact", version=4, lineage=made, settings=settings)
    return with_metrics(artifact, {"alarm_rate": 0.25, "rows": 40.0})


def test_round_trip_is_exact(artifact: Artifact) -> None:
    again = Artifact.decode(artifact.encode())
    assert again.encode() == artifact.encode()
    assert again.digest == artifact.digest == hashlib.sha256(artifact.encode()).hexdigest()
    assert again.manifest == artifact.manifest
    assert again.golden_inputs.tobytes() == artifact.golden_inputs.tobytes()
    assert {name: array.tobytes() for name, array in again.parameters.items()} == {
        name: array.tobytes() for name, array in artifact.parameters.items()
    }


def test_decoded_numbers_can_not_be_changed(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="read-only"):
        Artifact.decode(artifact.encode()).golden_scores[0] = 1.0


@pytest.mark.parametrize("name", DIGESTS)
def test_artifacts_of_each_version_stay_readable(name: str) -> None:
    data = (HERE / name).read_bytes()
    artifact = Artifact.decode(data)
    assert artifact.digest == DIGESTS[name]
    assert artifact.encode() == data
    assert artifact.manifest.v == int(name.split(".v")[1][0])
    check(artifact)


def test_encoding_does_not_drift() -> None:
    assert telling().encode() == (HERE / "rules.v3.artifact").read_bytes()
    assert integers().encode() == (HERE / "zscore.v1.artifact").read_bytes()
    assert scorer(integers()).score(np.array([[2.0, 50.0]]))[0] == 3.0


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArtifact):
        Artifact.decode(data)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_another_artifact(data: st.DataObject) -> None:
    """Numbers are covered by the manifest's digest; a letter of the author's name is not, but changes the artifact's."""
    whole = integers().encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    line, found = refusal(bytes(damaged))
    if found is None:
        assert "\n" not in line
        return
    assert found.digest != integers().digest
    assert found.manifest.digest == integers().manifest.digest


def refusal(data: bytes) -> tuple[str, Artifact | None]:
    try:
        return "", Artifact.decode(data)
    except InvalidArtifact as error:
        return str(error), None


def test_cut_bytes_are_refused() -> None:
    whole = integers().encode()
    for length in range(len(whole)):
        with pytest.raises(InvalidArtifact, match=r"^[^\n]*$"):
            Artifact.decode(whole[:length])
    with pytest.raises(InvalidArtifact):
        Artifact.decode(whole + b"\x00")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps({"v": 1}),
        b"\x93NUMPY\x01\x00",
        b"\xdd\xff\xff\xff\xff",  # an array of 4 billion
        b"\x91" * 100_000,  # nested 100,000 deep
        b"\xc6\xff\xff\xff\xff",  # 4 GB of bytes to come
    ],
    ids=["empty", "pickle", "npy", "long array", "deep", "long bytes"],
)
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArtifact, match="not an artifact"):
        Artifact.decode(data)


def test_size_is_limited() -> None:
    with pytest.raises(InvalidArtifact, match=f"artifact of {MAX_BYTES + 1} bytes; allowed are {MAX_BYTES}"):
        Artifact.decode(bytes(MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "line"),
    [
        ("|O", (1,), 8, r"dtype '\|O'; allowed are <f8, <f4, <i8, <i4"),
        (">f8", (1,), 8, "dtype '>f8'"),
        ("<f8,<f8", (1,), 16, "dtype"),
        ("<f8", (2,), 8, r"8 bytes; shape \(2,\) needs 16"),
        ("<f8", (-1,), 8, r"shape \(-1,\)"),
        ("<f8", (2**62, 4), 0, r"0 bytes; shape"),
        ("<f8", (1, 1, 1, 1, 1), 8, "at most 4 sizes"),
    ],
)
def test_arrays_trust_no_header(dtype: str, shape: tuple[int, ...], size: int, line: str) -> None:
    with pytest.raises(InvalidArtifact, match=f"array 'mean': .*{line}"):
        unpack_array(Packed(dtype, shape, bytes(size)), "mean")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32, ">f8"])
def test_arrays_come_back(dtype: Any) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(pack_array(array)), type=Packed)
    np.testing.assert_array_equal(unpack_array(packed, "x"), array, strict=dtype != ">f8")


def test_arrays_of_objects_are_not_packed() -> None:
    with pytest.raises(InvalidArtifact, match="dtype object"):
        pack_array(np.array([None]))  # type: ignore[arg-type]


def test_a_changed_number_no_longer_has_its_digest() -> None:
    wire = msgspec.msgpack.decode(make("zscore").encode())
    dtype, shape, numbers = wire["payload"]["parameters"]["mean"]
    wire["payload"]["parameters"]["mean"] = [dtype, shape, numbers[:-1] + b"\x00"]
    with pytest.raises(InvalidArtifact, match=r"demo:1: numbers have digest .*; its manifest says"):
        Artifact.decode(msgspec.msgpack.encode(wire))


def test_another_order_of_keys_is_refused() -> None:
    wire = msgspec.msgpack.decode(make("zscore").encode())
    turned = dict(reversed(wire.items()))
    with pytest.raises(InvalidArtifact, match="canonical"):
        Artifact.decode(msgspec.msgpack.encode(turned))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": "../evil"}, r"model name '\.\./evil': allowed are lower-case letters"),
        ({"name": "a" * 65}, "model name"),
        ({"version": 0}, "version is 0; allowed: 1 to"),
        ({"v": 2}, "v is 2; allowed: 1"),
        ({"score": "argmax"}, "score is 'argmax'; allowed: output, -output, reconstruction_error"),
        ({"threshold": float("nan")}, "threshold is nan; allowed: finite"),
        ({"alarm_rate": 1.0}, "alarm_rate is 1.0"),
        ({"tolerance": 0.1}, "tolerance is 0.1"),
        ({"features": ()}, "features is 0"),
        ({"features": ("t", "t")}, "features is 't'; allowed: each name once"),
        ({"features": ("t",)}, r"reference.median is \(2.0, 20.0\); allowed: one finite number a feature"),
    ],
)
def test_manifests_are_checked_where_they_are_built(change: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidArtifact, match=line):
        msgspec.structs.replace(integers().manifest, **change)


def test_golden_rows_must_fit() -> None:
    with pytest.raises(InvalidArtifact, match=r"golden inputs \(1, 2\) and scores \(2,\); allowed are 1 to 64 rows of 2"):
        msgspec.structs.replace(integers(), golden_inputs=np.zeros((1, 2)))


def test_names_and_rates_are_refused_in_building() -> None:
    with pytest.raises(InvalidArtifact, match="model name 'A B'"):
        make("zscore", name="A B")
    with pytest.raises(InvalidArtifact, match="alarm_rate is 1; allowed: 0 up to, but not, 1"):
        make("zscore", alarm_rate=1)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"structure": Structure()}, "structure is 'empty'; allowed: none"),
        ({"structure": Structure(shape=(2, 2))}, r"shape is \(2, 2\); allowed: \(\) or \(T, F\) with T \* F = 2"),
        ({"structure": Structure(shape=(2,))}, r"shape is \(2,\)"),
        ({"structure": Structure(shape=(-1, -2))}, r"shape is \(-1, -2\)"),
        ({"structure": Structure(column=-1)}, "column is -1; allowed: 0 to 65536"),
        ({"structure": Structure(words={"rules": ("x" * 2**16,)})}, "words is '65541 characters'; allowed: 65536"),
        ({"v": 1, "structure": Structure(column=1)}, "v is 1; allowed: 2"),
    ],
)
def test_structures_are_checked_where_they_are_built(change: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidArtifact, match=line):
        msgspec.structs.replace(integers().manifest, **{"v": 2, **change})
