"""Each schema in conf/schemas/README.md reads the messages that stand below it, and the plan beside them resolves."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from swapstream.models.schema import load_schema
from swapstream.operators.decode import Decoder
from swapstream.operators.frame import RawFrame
from swapstream.operators.plan_file import PlanFile

from .markdown import ROOT, blocks

FOLDER = ROOT / "conf" / "schemas"
PAGE = blocks((FOLDER / "README.md").read_text())
LOGGED = 1_767_225_600_000


def examples():
    """(schema as YAML, a message as JSON): every message with the last schema above it."""
    schema = ""
    for block in PAGE:
        if block.language == "yaml":
            schema = block.text
        elif block.language == "json":
            yield schema, block.text.strip().encode()


def load(text, folder):
    path = folder / "example.yaml"
    path.write_text(text)
    return load_schema(path)


@pytest.mark.parametrize(("text", "message"), list(examples()))
def test_the_schema_reads_the_message(text, message, tmp_path):
    schema = load(text, tmp_path)
    frame, bad = Decoder(schema).decode(RawFrame(0, [message], np.array([0]), np.array([LOGGED]), [None]), 0, 1)
    assert bad == []
    assert len(frame) >= 1
    assert np.abs(frame.times - LOGGED * 1000).max() <= 1_000_000


def test_every_schema_has_a_message():
    assert {text for text, _ in examples()} == {block.text for block in PAGE if block.language == "yaml"}


def test_the_plan_takes_the_schemas(tmp_path):
    (text,) = [block.text for block in PAGE if block.language == "" and block.text.startswith("schema:")]
    file = msgspec.yaml.decode(f"name: p\n{text}", type=PlanFile)
    schemas = {schema.name: schema for schema in (load(block.text, tmp_path) for block in PAGE if block.language == "yaml")}
    assert [(schema.name, extractor.name) for schema, extractor in file.inputs(schemas.__getitem__)] == [
        ("pump", "identity+ewm"), ("valve", "identity")]


def test_every_setting_has_its_row():
    page = (FOLDER / "README.md").read_text()
    demo = load_schema(FOLDER / "demo.yaml")
    assert [name for name in demo.__struct_fields__ if f"`{name}`" not in page] == []
