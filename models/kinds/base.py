"""What a model kind is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from swapstream.models.arrays import Array, Float64
from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact
from swapstream.models.manifest import Words

Settings = Mapping[str, int | float | str]


class Training(msgspec.Struct, frozen=True):
    """What a model is fitted to: rows float64[n, F], finite, their columns' names, and where known who is an anomaly."""

    rows: Float64
    features: tuple[str, ...]
    labels: NDArray[np.bool_] | None = None
    seed: int = 0
    settings: Settings = {}


class Fitted(msgspec.Struct, frozen=True):
    """A model's numbers, as parameters or as a graph, and what goes with them into the manifest.

    `threshold` is the one that the kind's scores have by nature, None where it is calibrated.
    """

    parameters: Mapping[str, Array] = {}
    words: Words = {}
    graph: bytes | None = None
    score: str = "output"
    output: str | None = None
    threshold: float | None = None


class Scorer(Protocol):
    """A loaded model."""

    def score(self, rows: Float64) -> Float64:
        """Scores float64[n] of rows float64[n, F]; greater is more abnormal.

        NaN or infinite where the model failed on that row. Never raises for what a row holds, and a
        row's score does not depend on the other rows.
        """
        ...


@runtime_checkable
class Telling(Protocol):
    """A scorer that knows why it failed."""

    def failure(self, row: Float64) -> str:
        """Why it has no score for a row float64[F], the same whatever the row came with; "" when only the score isn't finite."""
        ...


class Kind(ABC):
    """A family of models. A module of this package that sets KIND to an instance is found by itself.

    `NAME` is what manifests call it; `SETTINGS` maps each setting of `fit` to its one-line help. `LABELS`: `fit` needs
    rows that are labelled, anomalies among them.
    """

    NAME: ClassVar[str]
    SETTINGS: ClassVar[Mapping[str, str]] = {}
    LABELS: ClassVar[bool] = False

    @abstractmethod
    def fit(self, training: Training) -> Fitted:
        """A model of the rows. The same training gives the same bits.

        Raises InvalidSettings where the settings or the rows don't allow one.
        """

    @abstractmethod
    def scorer(self, artifact: Artifact) -> Scorer:
        """A scorer. Raises InvalidArtifact when the artifact's numbers don't make up a model of this kind."""


def vector(artifact: Artifact, name: str, positive: bool = False) -> Float64:
    """The parameter `name`, a finite float64 for each feature."""
    return parameter(artifact, name, (len(artifact.manifest.features),), positive)


def parameter(artifact: Artifact, name: str, shape: tuple[int | None, ...], positive: bool = False) -> Float64:
    """The parameter `name`: float64 of `shape` (None: any size), finite, if asked positive; else InvalidArtifact."""
    array = artifact.parameters.get(name)
    if array is None:
        raise InvalidArtifact(
            f"{artifact.ref}: parameter {name!r} is missing; found: {', '.join(artifact.parameters) or 'none'}"
        )
    fits = array.ndim == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape, strict=True))
    if array.dtype != np.float64 or not fits:
        raise InvalidArtifact(
            f"{artifact.ref}: parameter {name!r} is {array.dtype}{array.shape}; allowed is float64{shape}"
        )
    if not np.isfinite(array).all() or (positive and (array <= 0).any()):
        raise InvalidArtifact(f"{artifact.ref}: parameter {name!r} must be finite{' and positive' if positive else ''}")
    return array.astype(np.float64, copy=False)


def no_graph(artifact: Artifact, *names: str) -> None:
    """A native kind has exactly these parameters and no graph; else InvalidArtifact."""
    if artifact.graph is not None:
        raise InvalidArtifact(f"{artifact.ref}: kind {artifact.manifest.kind} has no graph, the artifact holds one")
    if extra := sorted(set(artifact.parameters) - set(names)):
        raise InvalidArtifact(f"{artifact.ref}: unknown parameter {extra[0]!r}; allowed: {', '.join(names)}")


def word(artifact: Artifact, name: str) -> str:
    """The manifest's word for `name`; else InvalidArtifact."""
    found = artifact.manifest.words.get(name)
    if not isinstance(found, str):
        raise InvalidArtifact(f"{artifact.ref}: word {name!r} is {found!r:.100}; allowed: a text")
    return found
