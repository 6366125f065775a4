"""What stands in Markdown files as code: blocks, shell statements, words in backticks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FILES = sorted(path for pattern in ("*.md", "*/*.md", "*/*/*.md") for path in ROOT.glob(pattern)
               if not str(path.relative_to(ROOT)).startswith("."))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+", re.MULTILINE)
_HERE = re.compile(r"<<-?\s*['\"]?(\w+)")


class Block(NamedTuple):
    """Fenced code, or indented code with language ""."""

    language: str
    text: str


def blocks(markdown: str) -> list[Block]:
    """In their order."""
    found = [(match.start(), Block(match[1], match[2])) for match in _FENCE.finditer(markdown)]
    plain = _FENCE.sub(lambda match: " " * len(match[0]), markdown)
    found += [(match.start(), Block("", re.sub("^    ", "", match[0], flags=re.MULTILINE)))
              for match in _INDENTED.finditer(plain)]
    return [block for _, block in sorted(found)]


def section(markdown: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    return markdown.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def statements(shell: str) -> Iterator[str]:
    """The lines of a script, those of a here-document or after a backslash kept together."""
    lines = iter(shell.splitlines())
    for line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines)
        if here := _HERE.search(line):
            for inner in lines:
                line += "\n" + inner
                if inner == here[1]:
                    break
        if line.strip():
            yield line


def command_line(statement: str) -> list[str] | None:
    """The arguments of a `swapstream …` or `./scripts/demo …` statement, up to where its output goes; None for another one."""
    if not statement.startswith(("swapstream ", "./scripts/demo")):
        return None
    words = [*takewhile(lambda word: word not in (">", "|"), shlex.split(statement, comments=True))]
    return words[1:] if words[0] == "swapstream" else ["demo", *words[1:]]


def quoted(markdown: str) -> list[str]:
    """Every `word` in backticks, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", markdown))
