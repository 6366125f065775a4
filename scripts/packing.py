"""Making the files of a bundle: a Python that runs wherever it is unpacked, our code as a zip, and several jars as one."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from swapstream.models.errors import ClusterError, UnknownName

LAUNCHER = """#!/bin/sh
# The Python of this folder, wherever it was unpacked, with nothing of the host's but glibc.
home=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONHOME="$home" PYTHONNOUSERSITE=1 LD_LIBRARY_PATH="$home/lib"
exec "$home/bin/{binary}" "$@"
"""
NOT_AT_WORK = re.compile(r"(^|/)(tests?|idlelib|tkinter|turtledemo|ensurepip|lib2to3|site-packages|dist-packages|config-[^/]*)/"
                         r"|(^|/)_tkinter\.|\.opt-[12]\.pyc$|^pyflink/(lib|opt|plugins|examples|licenses|log|conf)/")
"""What no worker imports. Flink's jars, which come with the package, are on the cluster."""
GLIBC = re.compile(r"^(lib(c|m|pthread|dl|rt|util|resolv|anl|nsl)\.so|ld-linux|linux-vdso)")
JOINED = re.compile(r"META-INF/(services/[^/]+|NOTICE)")
ONE_IS_ENOUGH = re.compile(r"META-INF/(MANIFEST\.MF|LICENSE|DEPENDENCIES)")


def closure(roots: Iterable[str]) -> list[metadata.Distribution]:
    """The installed distributions and all that they need. Raises UnknownName."""
    from packaging.requirements import Requirement

    found: dict[str, metadata.Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise UnknownName(f"package {name!r} is not installed here, so it can't be bundled") from error
        needed = [Requirement(text) for text in found[name].requires or ()]
        waiting += [each.name for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found)]


def pack_python(target: Path, distributions: Iterable[metadata.Distribution]) -> None:
    """This interpreter, its standard library, the packages and the system's libraries that they load, as a .tar.gz.

    `bin/python3` in it runs wherever it is unpacked, on hosts of the same CPU family with a glibc at least as new.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary = Path(sys.executable).resolve()
    files = {f"bin/{version}": binary}
    files |= {f"lib/{version}/{name}": path for name, path in _standard_library()}
    files |= {f"lib/{version}/site-packages/{name}": path for each in distributions for name, path in _files(each)}
    loaded = [path for name, path in files.items() if ".so" in path.suffixes or path == binary]
    files |= {f"lib/{name}": path for name, path in libraries(loaded).items()}
    with tarfile.open(target, "w:gz", compresslevel=1, dereference=True) as archive:
        _add_text(archive, "bin/python3", LAUNCHER.format(binary=version), 0o755)
        for name, path in sorted(files.items()):
            archive.add(path, name, recursive=False)


def _standard_library() -> Iterator[tuple[str, Path]]:
    home = Path(sysconfig.get_path("stdlib"))
    for directory, _, names in os.walk(home):
        for name in names:
            path = Path(directory, name)
            relative = str(path.relative_to(home))
            if path.is_file() and not NOT_AT_WORK.search(relative):
                yield relative, path


def _files(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or ():
        path = Path(str(file.locate()))
        if not str(file).startswith("..") and not NOT_AT_WORK.search(str(file)) and path.is_file():
            yield str(file), path


def _add_text(archive: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text.encode()), mode
    archive.addfile(info, io.BytesIO(text.encode()))


def libraries(loaded: list[Path]) -> dict[str, Path]:
    """The system's shared libraries that these files load, by name, but for glibc's. Raises ClusterError."""
    try:
        done = subprocess.run(["ldd", *map(str, loaded)], capture_output=True, text=True, check=False,
                              env={**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))})
    except OSError as error:
        raise ClusterError(f"a bundle is made on Linux, where `ldd` tells what Python needs: {error}") from error
    own = {path.name for path in loaded}
    found = re.findall(r"^\s+(\S+) => (/\S+)", done.stdout, re.MULTILINE)
    return {name: Path(path) for name, path in found if not GLIBC.match(name) and name not in own}


def pack_code(target: Path, root: Path, packages: Iterable[str]) -> None:
    """Folders of Python code as `swapstream.*` in a zip."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in packages:
            for path in sorted((root / package).rglob("*.py")):
                archive.write(path, Path("swapstream") / path.relative_to(root))


def merge_jars(target: Path, jars: Iterable[Path]) -> None:
    """One jar with everything in `jars`; lists of services are joined. Raises ClusterError when two differ in another file."""
    entries: dict[str, bytes] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as merged:
        for jar in jars:
            with zipfile.ZipFile(jar) as archive:
                for name in archive.namelist():
                    if not name.endswith("/"):
                        _merge(entries, name, archive.read(name), jar)
        for name, content in entries.items():
            merged.writestr(name, content)


def _merge(entries: dict[str, bytes], name: str, content: bytes, jar: Path) -> None:
    if name not in entries:
        entries[name] = content
    elif JOINED.fullmatch(name):
        entries[name] = entries[name].rstrip() + b"\n" + content
    elif entries[name] != content and not ONE_IS_ENOUGH.fullmatch(name):
        raise ClusterError(f"{name} in {jar.name} is another than in the jars before it: they can't be one jar")
