"""The manifest: everything about a model but its numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

import msgspec

from swapstream.models.errors import InvalidArtifact

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_RULE = "lower-case letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit"
SCORES = ("output", "-output", "reconstruction_error")
MAX_FEATURES = 16384
MAX_WORDS = 2**16
MAX_VERSION = 2**31 - 1
MAX_COLUMN = 2**16

Words = dict[str, str | tuple[str, ...]]


def check_name(name: str) -> str:
    """The name, or InvalidArtifact: names become file names and Kafka keys."""
    if not NAME.fullmatch(name):
        raise InvalidArtifact(f"model name {name!r:.100}: allowed are {NAME_RULE}", "name")
    return name


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where numbers came from: `kind` ("file", "array", "parameters", "telemetry"), its name, the SHA-256 of its bytes, rows used.

    "parameters": the model's numbers themselves were given, in a file of `rows` arrays. "telemetry": records of a topic's partition
    from offset `first` to `last`, both included; the digest is that of their features.
    """

    kind: str
    name: str
    sha256: str
    rows: int
    partition: int | None = None
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        where = "" if self.partition is None else f"-{self.partition} {self.first} to {self.last}"
        return f"{self.kind} {self.name}{where}: {self.rows} rows, {self.sha256[:12]}"


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model came to be. `code_revision` and `dirty` are of the trainer's git working tree, None outside of one.

    `extractor` is what made its features (name:version:digest), None when they came from elsewhere. `metrics`: what the same recipe
    showed on rows that it was not fitted to.
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
    metrics: dict[str, float] = {}


class Distribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How numbers lie: `shares[i]` of them are above `edges[i - 1]` and at most `edges[i]`; the first and the last part have no end."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def sound(self) -> bool:
        rises = all(low < high for low, high in pairwise(self.edges)) and all(map(math.isfinite, self.edges))
        adds_up = all(share >= 0 for share in self.shares) and abs(sum(self.shares) - 1) < 1e-6
        return bool(self.edges) and rises and adds_up and len(self.shares) == len(self.edges) + 1


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Statistics of the training rows: one number a feature, and how their scores lie, None where they were too few to tell."""

    median: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    scores: Distribution | None = None


class Structure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be said of a model beyond its features, its numbers and one output.

    `shape`    (T, F) where a row of features is a window of T readings of F values, oldest first; else ()
    `column`   which column of the output is the score, where it has several (a class's probability)
    `words`    what of the model is not numbers: a network's activation, the text of rules
    """

    shape: tuple[int, ...] = ()
    column: int | None = None
    words: Words = {}

    @classmethod
    def of(cls, shape: tuple[int, ...], column: int | None, words: Words) -> Structure | None:
        """None where there is nothing to say: such a manifest has version 1, and the same bytes as ever."""
        made = cls(shape, column, words)
        return None if made == cls() else made


def version_of(structure: Structure | None, lineage: Lineage, reference: Reference) -> int:
    """Of a manifest with these parts."""
    if lineage.metrics or reference.scores is not None or any(source.partition is not None for source in lineage.data):
        return 3
    return 1 if structure is None else 2


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A model's description. A record is anomalous when its score is greater than `threshold`.

    `v`             3 where the lineage has metrics or telemetry, or the reference scores; else 2 where there is a `structure`, else 1:
                    the oldest that has words for it (`version_of`)
    `features`      names, in the order of the columns that the model reads
    `score`         how the output becomes the score: itself, negated, or its mean squared difference to the input
    `output`        the graph's output that is read; None for native kinds
    `alarm_rate`    share of training rows above the threshold that was aimed at; None when the threshold was given
    `tolerance`     relative difference to the golden scores that is still the same model
    `bitwise`       whether scores are bit-equal however rows are batched
    `digest`        SHA-256 of the artifact's numbers (artifact.payload_digest)

    No field more: msgspec writes the longer head of a map for 16 and more, present or not, and version 1 must keep its bytes.
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
    structure: Structure | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        needed = version_of(self.structure, self.lineage, self.reference)
        if self.v != needed:
            self._refuse("v", self.v, str(needed))
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
        self._check_structure()

    def _check_features(self) -> None:
        if not 1 <= len(self.features) <= MAX_FEATURES:
            self._refuse("features", len(self.features), f"1 to {MAX_FEATURES} names")
        if len(set(self.features)) != len(self.features):
            self._refuse("features", Counter(self.features).most_common(1)[0][0], "each name once")
        if any(not name or len(name) > 256 for name in self.features):
            self._refuse("features", "a name", "names of 1 to 256 characters")
        for field in ("median", "mean", "deviation"):
            values = getattr(self.reference, field)
            if len(values) != len(self.features) or not all(map(math.isfinite, values)):
                self._refuse(f"reference.{field}", values, "one finite number a feature")

        if self.reference.scores is not None and not self.reference.scores.sound:
            self._refuse("reference.scores", self.reference.scores, "rising edges, and a share for each part")
        if not all(map(math.isfinite, self.lineage.metrics.values())):
            self._refuse("lineage.metrics", self.lineage.metrics, "finite numbers")

    def _check_structure(self) -> None:
        if self.structure == Structure():
            self._refuse("structure", "empty", "none where there is nothing to say")
        if self.shape and (len(self.shape) != 2 or min(self.shape) < 1 or math.prod(self.shape) != len(self.features)):
            self._refuse("shape", self.shape, f"() or (T, F) with T * F = {len(self.features)}")
        if self.column is not None and not 0 <= self.column <= MAX_COLUMN:
            self._refuse("column", self.column, f"0 to {MAX_COLUMN}")
        size = sum(len(key) + sum(map(len, value)) for key, value in self.words.items())
        if size > MAX_WORDS:
            self._refuse("words", f"{size} characters", f"{MAX_WORDS}")

    def _refuse(self, field: str, value: object, allowed: str) -> None:
        raise InvalidArtifact(f"manifest of {self.name}: {field} is {value!r:.100}; allowed: {allowed}", "manifest")

    @property
    def ref(self) -> str:
        """name:version."""
        return f"{self.name}:{self.version}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, F) where a row is a window, else ()."""
        return self.structure.shape if self.structure else ()

    @property
    def column(self) -> int | None:
        """The column of the output that is the score, None where it has one."""
        return self.structure.column if self.structure else None

    @property
    def words(self) -> Words:
        """What of the model is not numbers."""
        return self.structure.words if self.structure else {}
