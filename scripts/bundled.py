"""A bundle as it lies on disk, and the options of `flink run` that send a job with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from swapstream.models.errors import InvalidSettings

UNPACKED = "environment"
"""The folder that the archive is unpacked into, in a worker's working directory."""


class Bundle(msgspec.Struct, frozen=True):
    """bundle.json, written last. `flink` is the version of the Flink that the jar belongs to."""

    swapstream: str
    python: str
    flink: str
    connector: str
    platform: str
    packages: dict[str, str]
    v: int = 1


def bundle_files(directory: Path) -> dict[str, Path]:
    """What a bundle consists of, by role."""
    return {"python": directory / "environment.tar.gz", "code": directory / "swapstream.zip", "jar": directory / "swapstream.jar",
            "manifest": directory / "bundle.json"}


def load_bundle(directory: Path) -> Bundle:
    """Raises InvalidSettings when it is not whole."""
    missing = [file.name for file in bundle_files(directory).values() if not file.is_file()]
    if missing:
        raise InvalidSettings(f"{directory} is no bundle: it has no {', '.join(missing)}; "
                              f"make one with `swapstream bundle -o {directory}`")
    if {"#", ","} & set(str(directory)):
        raise InvalidSettings(f"bundle {directory}: Flink takes no # and no comma in the path")
    try:
        return msgspec.json.decode(bundle_files(directory)["manifest"].read_bytes(), type=Bundle)
    except msgspec.DecodeError as error:
        raise InvalidSettings(f"{directory}/bundle.json: {error}") from error


def run_options(directory: Path, job: str, code: Sequence[str] = ()) -> list[str]:
    """The options that send a job with its bundle, and with archives of users' code: workers run the archive's Python, and every class
    comes out of the jar.

    Raises InvalidSettings.
    """
    load_bundle(directory)
    files = bundle_files(directory)
    return ["-pyclientexec", sys.executable, "-pyexec", f"{UNPACKED}/bin/python3",
            "-pyarch", f"{files['python'].as_uri()}#{UNPACKED}", "-pyfs", ",".join([files["code"].as_uri(), *code]),
            "-j", str(files["jar"]), "-pym", f"swapstream.jobs.{job}"]
