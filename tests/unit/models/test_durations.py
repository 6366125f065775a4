"""Durations as people write them."""

import pytest

from swapstream.models.durations import milliseconds


@pytest.mark.parametrize(("text", "expected"), [
    ("0s", 0), ("500ms", 500), ("90s", 90_000), ("15min", 900_000), ("12h", 43_200_000), ("30d", 2_592_000_000), ("30 d", 2_592_000_000),
])
def test_a_number_and_a_unit(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1w", "5m", "1d2h", "9" * 10 + "s", "1d\n"])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="one of ms, s, min, h, d"):
        milliseconds(text)
