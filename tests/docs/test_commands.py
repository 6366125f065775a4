"""Documentation and the command line say the same: no command is left out, none is made up."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from swapstream.scripts.main import SECTIONS

from .commands import leaves, parse, unknown_options
from .markdown import FILES, ROOT, blocks, command_line, quoted, statements

LEAVES = dict(leaves())
COMMANDS = list(LEAVES)
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_line(command):
    rows = [line for path in ("README.md", "scripts/README.md") for line in (ROOT / path).read_text().splitlines()
            if line.startswith("|")]
    assert any(re.search(rf"`{command}[` ]", row) for row in rows), f"no table of README.md or scripts/README.md has `{command}`"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_command_in_a_block_can_be_called_so(path):
    for block in blocks(path.read_text()):
        for statement in statements(block.text):
            arguments = command_line(statement)
            if arguments is not None:
                assert refusal(arguments) is None, statement


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_command_and_option_in_the_text_is_there(path):
    for words in map(str.split, quoted(path.read_text())):
        if words[0] == "./scripts/demo":
            words = ["swapstream", "demo", *words[1:]]
        if words[0] == "swapstream" and len(words) > 1:
            assert mentioned(words[1:]) is None, f"{' '.join(words)}: {mentioned(words[1:])}"
        elif words[0] in {*COMMANDS, *GROUPS} and len(words) > 1:
            assert mentioned(words) is None, f"{' '.join(words)}: {mentioned(words)}"


@pytest.mark.parametrize("statement", [
    "swapstream frobnicate", "swapstream up --nope", "swapstream submit detect", "swapstream plan", "swapstream plan burn x.yaml",
    "swapstream feed x.csv --schema demo --speed-up fast", "./scripts/demo --sometimes", "swapstream --environ x status",
])
def test_what_click_refuses_is_found(statement):
    arguments = command_line(statement)
    assert arguments is not None
    assert refusal(arguments)


def test_what_is_made_up_in_the_text_is_found():
    assert mentioned(["frobnicate"])
    assert mentioned(["plan", "burn"])
    assert mentioned(["submit", "--nope"])
    assert mentioned(["submit", "--dry-run"]) is None


def test_the_overview_has_every_command_once_in_a_short_line():
    lines = [line for section in SECTIONS.values() for line in section]
    assert len({line.name for line in lines}) == len(lines)
    assert [line.name for line in lines if len(line.summary) > 64 or line.summary.endswith(".")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for(command):
    found = LEAVES[command]
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command} {parameter.opts[0]} has no help"
    assert found.help, f"{command} has no help"


def refusal(arguments: list[str]) -> str | None:
    """What click says against a call."""
    try:
        parse(arguments)
    except click.exceptions.Exit as error:  # --help
        return None if error.exit_code == 0 else "exits"
    except click.UsageError as error:
        return error.format_message() or "shows its help instead"
    return None


def mentioned(words: list[str]) -> str | None:
    """What is wrong with a command as the text mentions it, where arguments may be missing; None: nothing."""
    if words[0] == "COMMAND" or words[0].startswith("-"):
        return None
    if words[0] in GROUPS:
        if len(words) == 1 or words[1:2] == ["…"]:
            return None
        words = [" ".join(words[:2]), *words[2:]]
    if words[0] not in COMMANDS:
        return "there is no such command"
    wrong = unknown_options(words[0], words[1:])
    return f"there is no option {', '.join(wrong)}" if wrong else None
