"""Two plans over the same span of telemetry, side by side. Pure: records go in, what each plan says of them comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from swapstream.models.errors import InvalidSettings
from swapstream.operators.extraction import without_tokens
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Bool, Float64, Frame, RawFrame
from swapstream.operators.labels import Labels
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.scored import DECIDING, Scored
from swapstream.scripts.remembered import Remembered
from swapstream.scripts.trial import Trial, joined, trial_of

NOTHING = Remembered(0)


class Side:
    """One plan over one schema's readings."""

    def __init__(self, part: LoadedInput) -> None:
        self.part = part
        self.found: list[Scored] = []
        self.seconds = 0.0
        self._begin = 0
        self._table = part.new_table()

    @property
    def extractors(self) -> dict[str, Composite]:
        """By schema."""
        return {self.part.schema.name: self.part.extractor}

    def begin(self, known: Remembered) -> None:
        """Another partition, of which so much is known."""
        table = known.tables.get(self.part.schema.name)
        self._begin, self._table = known.offset, self.part.new_table() if table is None else table

    def take(self, frame: Frame, first: int) -> None:
        """The next readings; before offset `first` they only change what is known of devices, and not those that are known already."""
        if frame.offsets[0] < self._begin:
            frame = frame.take(np.flatnonzero(frame.offsets >= self._begin))
        if not len(frame):
            return
        began = perf_counter()
        said = self.part.process(frame, self._table)
        self.seconds += perf_counter() - began
        wanted = frame.offsets >= first
        if wanted.any():
            self.found.append(said if wanted.all() else taken(said, wanted))


class Comparison:
    """Of the readings of `schema` in a span. Both plans must read it alike. Raises InvalidSettings."""

    def __init__(self, first: Pipeline, second: Pipeline, schema: str | None) -> None:
        one, other = first.input(schema), second.input(schema)
        if one.schema.digest != other.schema.digest:
            raise InvalidSettings(f"plans {first.plan.name!r} and {second.plan.name!r} read other messages: schema {one.schema.name}@"
                                  f"{one.schema.digest[:12]} and {other.schema.name}@{other.schema.digest[:12]}; they must be the same")
        self.sides = (Side(one), Side(other))
        self._decoders = first.decoders
        self._place = list(first.inputs).index(one.schema.name)

    def partition(self, frames: Iterable[RawFrame], first: int, known: Sequence[Remembered] = (NOTHING, NOTHING)) -> Iterable[int]:
        """All of a partition's records from some time before the span on, which begins at offset `first`; yields how far it is.

        `known`: of devices, by each side, and from which record on it is to be shown them.
        """
        for side, one in zip(self.sides, known, strict=True):
            side.begin(one)
        for raw in frames:
            readings = without_tokens(raw)
            frame = self._decoders.decode(readings, 0, len(readings))[0][self._place]
            if len(frame):
                for side in self.sides:
                    side.take(frame, first)
            yield int(raw.offsets[-1])

    def trials(self, labels: Labels, topic: str) -> tuple[Trial, Trial]:
        """What each plan said of the same readings, in the order of partition and offset."""
        frames = [said.frame for said in self.sides[0].found]
        whole, marked = joined(frames), labelled(frames, labels, topic)
        first, second = (trial_of(whole, side.found, marked, side.seconds) for side in self.sides)
        return first, second


def labelled(frames: Sequence[Frame], labels: Labels, topic: str) -> Bool | None:
    """Which readings are anomalies, as labels say; None where they say nothing of any."""
    there, anomalous = [np.zeros(0, np.bool_)], [np.zeros(0, np.bool_)]
    for frame in frames:
        known, bad = labels.said(topic, frame.partition, frame.offsets, frame.index, *frame.by_device(), frame.times)
        there.append(known)
        anomalous.append(bad)
    return np.concatenate(anomalous) if np.concatenate(there).any() else None


def taken(said: Scored, wanted: Bool) -> Scored:
    """What was said of some of a frame's readings."""
    places = np.cumsum(wanted) - 1
    roles = []
    for one in said.roles:
        here = wanted[one.rows]
        kept = np.cumsum(here) - 1
        errors = {int(kept[place]): reason for place, reason in one.errors.items() if here[place]}
        roles.append(msgspec.structs.replace(one, rows=places[one.rows[here]], scores=one.scores[here], errors=errors))
    return Scored(said.frame.take(np.flatnonzero(wanted)), said.features[wanted], said.warming[wanted], roles, said.anomalous[wanted])


class Decisions(msgspec.Struct, frozen=True):
    """What a plan decides of each reading: `asked`, whether a model decides; `alarms`; `scores`, NaN where there is none."""

    asked: Bool
    alarms: Bool
    scores: Float64

    @classmethod
    def of(cls, trial: Trial) -> Decisions:
        n = len(trial.frame)
        asked, alarms, scores = np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.full(n, np.nan)
        for role in trial.roles:
            if role.role in DECIDING:
                asked |= role.asked
                alarms |= role.alarms
                scores = np.where(np.isnan(scores), role.scores, scores)
        return cls(asked, alarms, scores)


def agreement(first: Trial, second: Trial) -> dict[str, Any]:
    """How two plans agree on the readings that both decide.

    - agreement: share of readings on which both raise an alarm or both don't. kappa: Cohen's, which takes off what chance would give.
    - both, only_first, only_second: readings with an alarm. rank_correlation: Spearman's, of the scores. None: can't be told.
    """
    one, other = Decisions.of(first), Decisions.of(second)
    rows = one.asked & other.asked
    a, b = one.alarms[rows], other.alarms[rows]
    return {
        "records": int(rows.sum()),
        "both": int((a & b).sum()),
        "only_first": int((a & ~b).sum()),
        "only_second": int((b & ~a).sum()),
        "agreement": float((a == b).mean()) if len(a) else None,
        "kappa": kappa(a, b),
        "rank_correlation": rank_correlation(one.scores[rows], other.scores[rows]),
    }


def kappa(a: Bool, b: Bool) -> float | None:
    from sklearn.metrics import cohen_kappa_score  # takes a second to import

    return float(cohen_kappa_score(a, b)) if len(a) and (a.any() or b.any()) and not (a.all() and b.all()) else None


def rank_correlation(a: Float64, b: Float64) -> float | None:
    from scipy.stats import spearmanr  # the same

    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    return float(spearmanr(a, b).statistic) if len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0 else None


def side_by_side(first: Trial, second: Trial) -> Trial:
    """Both champions as roles of one trial, for a picture."""
    roles = [msgspec.structs.replace(role, role=name) for name, trial in (("first", first), ("second", second))
             for role in trial.roles if role.role == "champion"]
    return Trial(first.frame, first.labels, first.warming | second.warming, roles, first.seconds + second.seconds)

