"""What came out of a deployment, counted: every record once, and by which epoch and model. Pure: messages go in."""

from __future__ import annotations

from typing import Any

import msgspec

from swapstream.operators.chaining import Chaining, Gap
from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.scores import ScoresFrame, decode_scores


class Stretch(msgspec.Struct, frozen=True):
    """The records of one partition that one epoch's champion scored: the first and last offset."""

    partition: int
    epoch: int
    model: str
    first: int
    last: int


class Tally:
    """Counts one deployment's messages of `scores`, `dead_letters` and `anomalies`; those of others are passed over.

    `scored` counts readings, each once. `gaps`: where some are missing.
    """

    def __init__(self, namespace: str, deployment: str) -> None:
        self.namespace, self.deployment = namespace, deployment
        self.anomalies: list[dict[str, Any]] = []
        self.gaps: list[Gap] = []
        self.scored = 0
        self._chaining = Chaining()
        self._dead: set[tuple[int, int, int | None]] = set()
        self._stretches: dict[tuple[int, int], Stretch] = {}

    @property
    def repeats(self) -> int:
        """Readings that were there before: 0 under exactly_once."""
        return self._chaining.repeats

    @property
    def dead(self) -> int:
        return len(self._dead)

    @property
    def stretches(self) -> list[Stretch]:
        """By partition and epoch."""
        return [self._stretches[key] for key in sorted(self._stretches)]

    def take_scores(self, value: bytes) -> None:
        """A message of `scores`."""
        frame = decode_scores(value)
        if not self._ours(frame.provenance.namespace, frame.provenance.deployment):
            return
        for one in self._chaining.take(frame):
            if isinstance(one, Gap):
                self.gaps.append(one)
            else:
                self._count(one)

    def take_dead_letter(self, value: bytes) -> None:
        """A message of `dead_letters`."""
        letter = decode_dead_letter(value)
        if not letter.is_of(self.namespace, self.deployment):
            return
        self._dead.add((letter.partition, letter.offset, letter.index))

    def take_anomaly(self, value: bytes) -> None:
        """A message of `anomalies`."""
        anomaly = msgspec.json.decode(value)
        if self._ours(anomaly["namespace"], anomaly["deployment"]):
            self.anomalies.append(anomaly)

    def _count(self, frame: ScoresFrame) -> None:
        self.scored += len(frame)
        champion = next((role.model for role in frame.roles if role.role == "champion"), "")
        self._extend(Stretch(frame.provenance.partition, frame.provenance.epoch, champion, frame.first, frame.last))

    def _ours(self, namespace: str, deployment: str) -> bool:
        return (namespace, deployment) == (self.namespace, self.deployment)

    def _extend(self, found: Stretch) -> None:
        key = (found.partition, found.epoch)
        known = self._stretches.get(key, found)
        self._stretches[key] = msgspec.structs.replace(
            known, first=min(known.first, found.first), last=max(known.last, found.last)
        )
