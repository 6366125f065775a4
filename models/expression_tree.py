"""Rules as trees. A tree says nothing of what its features are: see models/kinds/rules.py."""

from __future__ import annotations

import msgspec


class Number(msgspec.Struct, frozen=True):
    """The number at this place among all numbers of the rules."""

    index: int


class Feature(msgspec.Struct, frozen=True):
    """A feature by name."""

    name: str


class Chain(msgspec.Struct, frozen=True):
    """first, then each sign with what follows it: a + b - c, a * b, or a < b <= c (each pair must hold)."""

    first: Node
    rest: tuple[tuple[str, Node], ...]
    truth: bool = False


class Call(msgspec.Struct, frozen=True):
    """abs, min, max, or "-" for the negative."""

    function: str
    arguments: tuple[Node, ...]


class Logic(msgspec.Struct, frozen=True):
    """and, or, not of what is true or false."""

    word: str
    arguments: tuple[Node, ...]


Node = Number | Feature | Chain | Call | Logic


def is_truth(node: Node) -> bool:
    """Whether it is true or false, not a number."""
    return isinstance(node, Logic) or (isinstance(node, Chain) and node.truth)
