"""Which of many patterns a device's name matches first. Thousands cost little more than one: most are told apart by how they begin."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

import msgspec

from swapstream.operators.plan import EVERY_DEVICE

NONE = -1
DEVICES_REMEMBERED = 100_000


class Pattern(msgspec.Struct, frozen=True):
    """`place`, whose glob pattern it is, and a second one that must match as well."""

    place: int
    glob: str
    also: str = EVERY_DEVICE


class Patterns:
    """First-match look-up. `first` remembers the names it was asked last."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._by_start: dict[str, list[tuple[int, re.Pattern[str], re.Pattern[str] | None]]] = {}
        for pattern in sorted(patterns, key=lambda one: one.place):
            also = None if pattern.also == EVERY_DEVICE else re.compile(translate(pattern.also))
            entry = (pattern.place, re.compile(translate(pattern.glob)), also)
            self._by_start.setdefault(re.split(r"[*?\[]", pattern.glob, maxsplit=1)[0], []).append(entry)
        self._lengths = sorted(set(map(len, self._by_start)))
        self._remembered: dict[str, int] = {}

    def first(self, name: str) -> int:
        """The lowest place with a pattern that matches, NONE if there is none."""
        found = self._remembered.get(name)
        if found is None:
            if len(self._remembered) >= DEVICES_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[name] = self._find(name)
        return found

    def _find(self, name: str) -> int:
        best: int | None = None
        for length in self._lengths:
            if length > len(name):
                break
            for place, glob, also in self._by_start.get(name[:length], ()):
                if best is not None and place >= best:
                    break
                if glob.match(name) and (also is None or also.match(name)):
                    best = place
                    break
        return NONE if best is None else best


@lru_cache(16)
def patterns_of(patterns: tuple[Pattern, ...]) -> Patterns:
    """The same for the same patterns: a plan that changes models only keeps what is remembered of devices."""
    return Patterns(patterns)
