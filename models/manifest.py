"""The manifest: everything about a model but its numbers."""

from __future__ import annotations

import math
import re

import msgspec

from swapstream.models.errors import InvalidArtifact

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_RULE = "lower-case letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit"
SCORES = ("output", "-output", "reconstruction_error")
MAX_FEATURES = 4096
MAX_VERSION = 2**31 - 1


def check_name(name: str) -> str:
    """The name, or InvalidArtifact: names become file names and Kafka keys."""
    if not NAME.fullmatch(name):
        raise InvalidArtifact(f"model name {name!r}: allowed are {NAME_RULE}")
    return name


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where training data came from: `kind` ("file", "array"), its name, the SHA-256 of its bytes, rows used."""

    kind: str
    name: str
    sha256: str
    rows: int


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model came to be. `code_revision` and `dirty` are of the trainer's git working tree, None outside of one.

    `extractor` is what made its features (name:version:digest), None when they came from elsewhere.
    """

    author: str
    created: str
    command: str
    code_revision: str | None = None
    dirty: bool | None = None
    data: tuple[Source, ...] = ()
    seed: int | None = None
    settings: dict[str, int | float | str] = {}
    libraries: dict[str, str] = {}
    parent: str | None = None
    extractor: str | None = None


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Statistics of the training features, one number a feature."""

    median: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A model's description. A record is anomalous when its score is greater than `threshold`.

    `features`      names, in the order of the columns that the model reads
    `score`         how the output becomes the score: itself, negated, or its mean squared difference to the input
    `output`        the graph's output that is read; None for native kinds
    `alarm_rate`    share of training rows above the threshold that was aimed at; None when the threshold was given
    `tolerance`     relative difference to the golden scores that is still the same model
    `bitwise`       whether scores are bit-equal however rows are batched
    `digest`        SHA-256 of the artifact's numbers (artifact.payload_digest)
    """

    v: int
    name: str
    version: int
    kind: str
    features: tuple[str, ...]
    score: str
    output: str | None = None
    threshold: float
    alarm_rate: float | None = None
    tolerance: float
    bitwise: bool
    reference: Reference
    lineage: Lineage
    digest: str

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.v != 1:
            self._refuse("v", self.v, "1")
        if not 1 <= self.version <= MAX_VERSION:
            self._refuse("version", self.version, f"1 to {MAX_VERSION}")
        if self.score not in SCORES:
            self._refuse("score", self.score, ", ".join(SCORES))
        if not math.isfinite(self.threshold):
            self._refuse("threshold", self.threshold, "finite numbers")
        if self.alarm_rate is not None and not 0 <= self.alarm_rate < 1:
            self._refuse("alarm_rate", self.alarm_rate, "0 up to, but not, 1")
        if not 0 <= self.tolerance <= 1e-3:
            self._refuse("tolerance", self.tolerance, "0 to 0.001")
        self._check_features()

    def _check_features(self) -> None:
        if not 1 <= len(self.features) <= MAX_FEATURES:
            self._refuse("features", len(self.features), f"1 to {MAX_FEATURES} names")
        if len(set(self.features)) != len(self.features):
            twice = next(name for name in self.features if self.features.count(name) > 1)
            self._refuse("features", twice, "each name once")
        if any(not name or len(name) > 256 for name in self.features):
            self._refuse("features", "a name", "names of 1 to 256 characters")
        for field in ("median", "mean", "deviation"):
            values = getattr(self.reference, field)
            if len(values) != len(self.features) or not all(map(math.isfinite, values)):
                self._refuse(f"reference.{field}", values, "one finite number a feature")

    def _refuse(self, field: str, value: object, allowed: str) -> None:
        raise InvalidArtifact(f"manifest of {self.name}: {field} is {value!r:.100}; allowed: {allowed}")

    @property
    def ref(self) -> str:
        """name:version."""
        return f"{self.name}:{self.version}"
