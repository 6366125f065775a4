"""The model kinds, found among this package's modules: each module with a KIND is one."""

from __future__ import annotations

import importlib
import pkgutil

from swapstream.models.artifact import Artifact
from swapstream.models.errors import UnknownName
from swapstream.models.kinds.base import Kind, Scorer, Telling

__all__ = ["KINDS", "Kind", "Scorer", "Telling", "kind_of", "scorer"]


def _discover() -> dict[str, Kind]:
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    kinds = [module.KIND for module in modules if hasattr(module, "KIND")]
    return {kind.NAME: kind for kind in sorted(kinds, key=lambda kind: kind.NAME)}


KINDS: dict[str, Kind] = _discover()


def kind_of(name: str) -> Kind:
    """The kind called so. Raises UnknownName, naming those that exist."""
    if name not in KINDS:
        raise UnknownName(f"model kind {name!r} does not exist; there are: {', '.join(KINDS)}")
    return KINDS[name]


def scorer(artifact: Artifact) -> Scorer:
    """Load the artifact, unchecked (see gate.check). Raises UnknownName, InvalidArtifact."""
    return kind_of(artifact.manifest.kind).scorer(artifact)
