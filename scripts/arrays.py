"""Arrays in files: rows of features (.npy), and a model's numbers by name (.npz). Never a pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swapstream.models.arrays import Float64
from swapstream.models.artifact import MAX_BYTES
from swapstream.models.errors import InvalidSettings
from swapstream.models.folders import write_whole


def read_sample(path: str) -> Float64:
    """The rows float64[n, K], or windows float64[n, T, F], of a .npy file. Raises InvalidSettings."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidSettings(f"sample {path}: not a .npy file of numbers: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.ndim not in (2, 3) or rows.dtype.kind not in "fiu":
        found = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise InvalidSettings(
            f"sample {path} holds {found}; allowed: numbers of shape (rows, features) or (rows, T, F)"
        )
    return rows.astype(np.float64)


def read_parameters(path: str) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name. Raises InvalidSettings."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise InvalidSettings(f"parameters {path}: {size} bytes; allowed are {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidSettings(f"parameters {path}: not a .npz file of numbers: {error}") from error


def write_parameters(path: str, parameters: Mapping[str, NDArray[Any]]) -> None:
    """The arrays as `read_parameters` reads them. Raises InvalidSettings."""
    if Path(path).suffix != ".npz":
        raise InvalidSettings(f"parameters {path}: the file's name must end in .npz")
    entries: dict[str, Any] = dict(parameters)
    written = io.BytesIO()
    np.savez(written, **entries)
    try:
        write_whole(Path(path), written.getvalue())
    except OSError as error:
        raise InvalidSettings(f"parameters {path}: {error.strerror or error}") from error
