"""Extractors: what turns values into features. Each module here that defines an `Extractor` is found by itself.

To add one, put a file beside `differences.py`; the contract suite in tests/unit/operators/test_extractors.py runs
over it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swapstream.operators.extractors.base import Extractor


@cache
def extractors() -> dict[str, type[Extractor]]:
    """Name → class of every extractor defined in this package, sorted by name."""
    from swapstream.operators.extractors.base import Extractor  # the modules found below import this one

    found: dict[str, type[Extractor]] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and issubclass(thing, Extractor) and thing.NAME and thing.__module__ == module.name:
                found[thing.NAME] = thing
    return dict(sorted(found.items()))
