"""Bytes that are no artifact are called what they are."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zlib
from typing import Any

import joblib
import msgspec
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from swapstream.models.magic import foreign
from tests.support.bad_artifacts import a_bare_graph, good


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], np.zeros(3), IsolationForest(), (1, "x"), list(range(20_000))],
                         ids=["dict", "list", "array", "model", "tuple", "long"])  # fmt: skip
def test_pickles_of_every_protocol(protocol: int, value: Any) -> None:
    assert str(foreign(pickle.dumps(value, protocol))).startswith("a pickle")


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_files_of_joblib(compress: Any) -> None:
    made = io.BytesIO()
    joblib.dump({"weights": np.zeros(1000)}, made, compress=compress)
    assert "joblib" in str(foreign(made.getvalue()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (a_bare_graph(), "an ONNX graph"),
        (gzip.compress(b"x"), "gzip"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (zlib.compress(b"x"), "zlib"),
        (b"PK\x03\x04 and so on", "a zip file"),
        (b"\x93NUMPY\x01\x00", "a .npy file"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
    ],
)
def test_other_files(data: bytes, said: str) -> None:
    assert said in str(foreign(data))


@pytest.mark.parametrize("data", [good(), msgspec.msgpack.encode({"v": 1}), b"text", b"name: p\n", b"{}", b"\x00" * 100, b"x", b"\x80"])
def test_what_is_something_else_is_not_called_so(data: bytes) -> None:
    assert foreign(data) is None
