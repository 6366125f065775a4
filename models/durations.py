"""Durations as people write them: 500ms, 90s, 15min, 12h, 30d."""

from __future__ import annotations

import re

MILLISECONDS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
ALLOWED = f"a whole number with a unit, one of {', '.join(MILLISECONDS)}, as in 30d"

_DURATION = re.compile(r"(\d{1,9})\s?([a-z]+)")


def milliseconds(text: str) -> int:
    """The duration in milliseconds. Raises ValueError, which says what is allowed.

    >>> milliseconds("15min"), milliseconds("30d")
    (900000, 2592000000)
    """
    found = _DURATION.fullmatch(text)
    if not found or found[2] not in MILLISECONDS:
        raise ValueError(f"{text!r} is no duration; allowed is {ALLOWED}")
    return int(found[1]) * MILLISECONDS[found[2]]
