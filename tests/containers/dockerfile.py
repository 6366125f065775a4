"""A reader of Dockerfiles, for the instructions that ours uses. What it doesn't know is refused, never passed over."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = ("FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "ENTRYPOINT", "CMD")


@dataclass(frozen=True)
class Step:
    """One instruction: `flags` as in --from=build, and the rest of it."""

    word: str
    flags: dict[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as an exec form or as words."""
        return [str(word) for word in json.loads(self.rest)] if self.rest.startswith("[") else self.rest.split()


@dataclass(frozen=True)
class Stage:
    """`base` is an image's or an earlier stage's name."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)


def read(path: Path) -> list[Stage]:
    """The stages in order. Raises ValueError on an instruction that is not known."""
    stages: list[Stage] = []
    for line in logical_lines(path.read_text()):
        found = step(line)
        if found.word == "FROM":
            base, _, name = found.rest.partition(" AS ")
            stages.append(Stage(name or str(len(stages)), base))
        else:
            stages[-1].steps.append(found)
    return stages


def logical_lines(text: str) -> list[str]:
    """Without comments, and with continued lines joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


def step(line: str) -> Step:
    word, _, rest = line.partition(" ")
    if word not in KNOWN:
        raise ValueError(f"Dockerfile: {word!r} is not known here; known: {', '.join(KNOWN)}")
    flags: dict[str, str] = {}
    while flag := re.match(r"--([a-z]+)=(\S+)\s+", rest := rest.strip()):
        flags[flag[1]] = flag[2]
        rest = rest[flag.end():]
    return Step(word, flags, rest)


def variables(step: Step) -> dict[str, str]:
    """What an ENV sets."""
    return dict(re.findall(r"([A-Z_]+)=(\S+)", step.rest))
