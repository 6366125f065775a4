"""The files of a bundle."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from swapstream.models.errors import ClusterError, UnknownName
from swapstream.scripts.bundle import CODE, ROOTS
from swapstream.scripts.environment import ROOT
from swapstream.scripts.packing import NOT_AT_WORK, closure, merge_jars, pack_code, pack_python

SAYS_WHAT_IT_LOADED = """
import ssl, sqlite3, ctypes, msgspec, sys
print(sys.prefix, msgspec.__file__, *{line.split()[-1] for line in open("/proc/self/maps")})
"""


def jar(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def read(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_jars_become_one_and_their_lists_of_services_are_joined(tmp_path):
    service = "META-INF/services/Factory"
    first = jar(tmp_path / "a.jar", **{"A.class": "a", service: "a.Factory\n", "META-INF/MANIFEST.MF": "a", "same": "s"})
    second = jar(tmp_path / "b.jar", **{"B.class": "b", service: "b.Factory", "META-INF/MANIFEST.MF": "b", "same": "s"})
    merge_jars(tmp_path / "one.jar", [first, second])
    found = read(tmp_path / "one.jar")
    assert found.pop(service).split() == ["a.Factory", "b.Factory"]
    assert found == {"A.class": "a", "B.class": "b", "META-INF/MANIFEST.MF": "a", "same": "s"}


def test_jars_that_differ_in_a_class_are_refused(tmp_path):
    first, second = jar(tmp_path / "a.jar", **{"C.class": "1"}), jar(tmp_path / "b.jar", **{"C.class": "2"})
    with pytest.raises(ClusterError, match=r"C\.class in b\.jar is another"):
        merge_jars(tmp_path / "one.jar", [first, second])


def test_code_is_a_package_that_workers_import_without_the_command_line(tmp_path):
    pack_code(tmp_path / "code.zip", ROOT, CODE)
    found = read(tmp_path / "code.zip")
    assert found["swapstream/jobs/detect.py"] == (ROOT / "jobs" / "detect.py").read_text()
    assert not [name for name in found if name.startswith("swapstream/scripts/")]


def test_what_a_package_needs_comes_along():
    assert {"apache-flink", "apache-beam", "pyarrow", "protobuf"} <= {found.metadata["Name"].lower() for found in closure(["apache-flink"])}
    with pytest.raises(UnknownName, match="'no-such-package' is not installed"):
        closure(["no-such-package"])


def test_workers_need_neither_training_nor_tests():
    names = {found.metadata["Name"].lower() for found in closure(ROOTS)}
    assert {"cryptography", "fsspec", "onnxruntime"} <= names
    assert not {"scikit-learn", "scipy", "click", "rich", "pytest", "mypy", "matplotlib"} & names


@pytest.mark.parametrize(("name", "left_out"), [
    ("numpy/core/tests/test_a.py", True), ("pyflink/lib/flink-dist.jar", True), ("test/support/__init__.py", True),
    ("numpy/testing/__init__.py", False), ("pyflink/bin/pyflink-udf-runner.sh", False), ("unittest/case.py", False),
    ("os.py", False), ("lib-dynload/_tkinter.cpython-311.so", True)])
def test_what_is_left_out(name, left_out):
    assert bool(NOT_AT_WORK.search(name)) is left_out


def test_the_packed_python_runs_elsewhere_with_its_own_libraries(tmp_path):
    pack_python(tmp_path / "python.tar.gz", closure(["msgspec"]))
    with tarfile.open(tmp_path / "python.tar.gz") as archive:
        archive.extractall(tmp_path / "there", filter="tar")
    done = subprocess.run([tmp_path / "there" / "bin" / "python3", "-c", SAYS_WHAT_IT_LOADED], env={"PATH": "/usr/bin:/bin"}, cwd="/",
                          capture_output=True, text=True, check=True)
    prefix, module, *loaded = done.stdout.split()
    assert prefix == str(tmp_path / "there")
    assert module.startswith(prefix)
    assert not [path for path in loaded if path.startswith((sys.prefix, sys.base_prefix + "/lib"))]
