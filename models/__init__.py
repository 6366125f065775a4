"""Model artifacts: manifests, kinds, the gate and the store. No Flink, no Kafka.

    from swapstream.models import pack, revise, train, Artifact, Store

The names load on first use, so that importing `swapstream.models.errors` stays cheap and workers never see
scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swapstream.models.artifact import Artifact
    from swapstream.models.build import pack, train
    from swapstream.models.revision import revise
    from swapstream.models.store import Store

__all__ = ["Artifact", "Store", "pack", "revise", "train"]

_HOMES = {"Artifact": "artifact", "Store": "store", "pack": "build", "revise": "revision", "train": "build"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
