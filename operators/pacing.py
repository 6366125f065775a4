"""Loading beside the hot path, which shares a processor and the interpreter with it."""

from __future__ import annotations

import threading
import time

from swapstream.models.artifact import Artifact
from swapstream.models.schema import Schema
from swapstream.operators.lookup import Lookup
from swapstream.operators.plan import Pin


class Paced:
    """A look-up that rests between two models as long as the one before took to be loaded and checked, so that a plan with
    hundreds of them takes no more than a share of the worker; until somebody waits for it (`hurry`), or it is `over`.
    """

    def __init__(self, lookup: Lookup, hurry: threading.Event) -> None:
        self._lookup, self._hurry = lookup, hurry
        self._began: float | None = None
        self.over = False

    def schema(self, pin: Pin) -> Schema:
        return self._lookup.schema(pin)

    def model(self, pin: Pin) -> Artifact:
        if not self.over:
            if self._began is not None:
                self._hurry.wait(time.perf_counter() - self._began)
            self._began = time.perf_counter()
        return self._lookup.model(pin)
