"""`swapstream bundle`: what a job takes along to a Flink cluster that knows nothing of Swapstream."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.scripts.bundled import Bundle, bundle_files
from swapstream.scripts.console import err, json_option, say, show
from swapstream.scripts.environment import ROOT
from swapstream.scripts.flink_cli import connector, connector_version, python_jar

ROOTS = ("apache-flink", "cryptography", "fsspec", "kafka-python", "lz4", "msgpack", "msgspec", "numpy", "onnx", "onnxruntime",
         "setuptools")
"""What workers import; the command line and training need more."""
CODE = ("jobs", "models", "operators")

def make_bundle(directory: Path, more: tuple[str, ...]) -> Bundle:
    """Make or remake the bundle in `directory`. Raises ClusterError, UnknownName."""
    from swapstream.scripts.packing import closure, merge_jars, pack_code, pack_python

    directory.mkdir(parents=True, exist_ok=True)
    files = bundle_files(directory)
    files["manifest"].unlink(missing_ok=True)
    with err.status("packing Python and the packages that workers need") as shown:
        distributions = closure((*ROOTS, *more))
        pack_python(files["python"], distributions)
        pack_code(files["code"], ROOT, CODE)
        shown.update("joining the jars")
        merge_jars(files["jar"], [connector(), python_jar()])
    made = Bundle(metadata.version("swapstream"), platform.python_version(), metadata.version("apache-flink"),
                  connector_version(), f"{sys.platform}-{platform.machine()}",
                  {each.name: each.version for each in distributions})
    files["manifest"].write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    return made


@click.command("bundle")
@click.option("-o", "--output", default="bundle", show_default=True, type=click.Path(file_okay=False), help="Directory to write to.")
@click.option("--with", "more", multiple=True, metavar="PACKAGE", help="Another installed package, which your own code needs in workers.")
@json_option
def bundle_command(output: str, more: tuple[str, ...], as_json: bool) -> None:
    """Make what `submit --bundle` sends to a cluster: a Python with all packages, our code, one jar.

    It runs on any Flink of the same minor version, on hosts of this CPU family; they need Java, and neither Python nor Swapstream.
    """
    directory = Path(output).resolve()
    made = make_bundle(directory, more)
    rows: list[dict[str, Any]] = [{"file": path.name, "megabytes": round(path.stat().st_size / 1e6, 1)}
                                  for path in bundle_files(directory).values()]
    show(rows, ["file", "megabytes"], as_json, f"Bundle in {directory}")
    say(f"Python {made.python}, Flink {made.flink}, connector {made.connector}, {len(made.packages)} packages, {made.platform}")
