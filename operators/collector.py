"""Python's garbage collector where many records are decoded: it costs up to half of the decoder's rate (measured)."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_COLLECTION = 50_000


def calm() -> None:
    """For a process that has loaded what it needs and lives for its records: what is there now stays, and the rest is seldom looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_COLLECTION, 20, 100)


@contextmanager
def calmed() -> Iterator[None]:
    """The same for a while, in a process of somebody else's."""
    before = gc.get_threshold()
    calm()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
