"""Rules as tokens: what a piece of their text is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from swapstream.models.errors import InvalidSettings

COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
FUNCTIONS = ("abs", "min", "max")
WORDS = ("and", "or", "not", *FUNCTIONS)
PLACE = "?"

_TOKEN = re.compile(
    r"(?P<space>[ \t\r]+)"
    r"|(?P<number>([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*(\.\w+)*(\[-?[0-9]+\])?|`[^`\n]+`)"
    r"|(?P<sign><=|>=|==|!=|[<>+\-*/(),:;\n?])"
)


class Token(msgspec.Struct, frozen=True):
    """A piece of text: `kind` is number, name (a feature), word or sign; `place`: where it begins."""

    kind: str
    text: str
    place: int


def tokens(text: str) -> list[Token]:
    """The tokens, spaces left out. Raises InvalidSettings."""
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise InvalidSettings(
                f"rules: {text[place]!r} at {place + 1}; allowed: features, numbers, signs, {', '.join(WORDS)}"
            )
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token("word" if match[0] in WORDS else kind, match[0], place))
        place = match.end()
    return found


def lines(found: list[Token]) -> list[list[Token]]:
    """The tokens of each rule: rules end with a semicolon or a line, and empty ones don't count."""
    written: list[list[Token]] = [[]]
    for token in found:
        if token.text in (";", "\n"):
            written.append([])
        else:
            written[-1].append(token)
    return [line for line in written if line]


def template(found: list[Token]) -> str:
    """The tokens as they were written, one space where there was any, `?` for numbers."""
    parts, end = [], found[0].place
    for token in found:
        parts.append(" " if token.place > end else "")
        parts.append(PLACE if token.kind == "number" else token.text)
        end = token.place + len(token.text)
    return "".join(parts)


def filled(texts: Sequence[str], numbers: Sequence[float]) -> tuple[str, ...]:
    """The rules as a person writes them: each `?` replaced by its number."""
    left = iter(numbers)
    return tuple(
        "".join(f"{next(left):.15g}" if part == PLACE else part for part in re.split(r"(`[^`]*`|\?)", text)) for text in texts
    )
