"""Whatever is wrong with a YAML file is a line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapstream.models.errors import InvalidSchema, UnknownName
from swapstream.models.schema import load_schema
from swapstream.models.yaml_file import read_mapping
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.environment import load_environment

BAD = {
    b"": "the file is empty",
    b"# nothing\n": "the file is empty",
    b"[a, b]\n": "holds a list; it must hold names and values",
    b"hello\n": "holds one value ('hello')",
    b"a: [1, 2\nb: }{\n": "is not YAML: line 2, column ",
    b"name: caf\xe9\n": "is not YAML: ",
    bytes(range(256)): "is not YAML: ",
    b"a: &a [*a]\nb: 2026-99-99\n": "is not YAML: ",
    b"[" * 10_000: "is not YAML: ",
}


@pytest.mark.parametrize(("content", "said"), BAD.items(), ids=lambda value: repr(value)[:20])
def test_a_bad_file_is_one_line_with_its_name(tmp_path, content, said):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidSchema) as found:
        read_mapping(path, "schema", InvalidSchema)
    message = str(found.value)
    assert message.startswith(f"schema {path}")
    assert said in message
    assert "\n" not in message


def test_a_file_that_is_not_there_or_is_a_directory(tmp_path):
    with pytest.raises(UnknownName, match=r"schema '.*x\.yaml': no such file"):
        read_mapping(tmp_path / "x.yaml", "schema", InvalidSchema)
    with pytest.raises(InvalidSchema, match=r"is a directory$"):
        read_mapping(tmp_path, "schema", InvalidSchema)


@pytest.mark.parametrize("load", [load_schema, load_plan_file, load_environment])
@pytest.mark.parametrize("content", [*BAD, b"1: 2\n", b"unheard_of: 1\n"], ids=lambda value: repr(value)[:20])
def test_schemas_plans_and_environments_say_it_so(tmp_path: Path, load, content):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(Exception, match=str(path)) as found:
        load(str(path))
    assert getattr(found.value, "exit_code", None) == 2
