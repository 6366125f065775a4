"""Scores as a reader takes them who follows the chain of `prev`: whether each device's come in the order of its readings."""

from __future__ import annotations

import msgspec
import numpy as np

from benchmarks import measure
from benchmarks.measure import Offsets
from swapstream.operators.chaining import Chaining, Gap
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.scripts.environment import Environment


class Order(msgspec.Struct, frozen=True):
    """Frames, those of them that came before the one that they follow on; gaps and repeats in the chain; readings that a reader
    of the chain still gets behind later ones of their partition; plans in which two extractors answered."""

    frames: int
    early: int
    gaps: int
    repeats: int
    behind: int
    mixed: int


def ordered(environment: Environment, since: Offsets) -> Order:
    """Of all that is committed."""
    chaining, last = Chaining(whole=True), dict[int, int]()
    frames = early = gaps = behind = 0
    extractors: dict[str, set[str]] = {}
    for message in measure.messages(environment, environment.topics.scores.name, since):
        frame = decode_scores(message.value)
        extractors.setdefault(frame.provenance.plan_digest, set()).add(frame.provenance.extractor)
        taken = chaining.take(frame)
        frames, early = frames + 1, early + (not taken)
        gaps += sum(isinstance(one, Gap) for one in taken)
        behind += sum(disorder(one, last) for one in taken if isinstance(one, ScoresFrame))
    gaps += sum(isinstance(one, Gap) for one in chaining.give_up())
    return Order(frames, early, gaps, chaining.repeats, behind, sum(len(names) > 1 for names in extractors.values()))


def disorder(frame: ScoresFrame, last: dict[int, int]) -> int:
    """Readings of a frame that are not behind all before them in their partition; `last` knows those, and learns."""
    partition, offsets = frame.provenance.partition, frame.column("offsets")
    found = int((np.diff(offsets, prepend=last.get(partition, -1)) <= 0).sum())
    last[partition] = int(offsets[-1])
    return found
