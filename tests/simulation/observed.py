"""What a job has put out, record by record."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.scores import BEFORE_ALL, Position, ScoresFrame, decode_scores
from tests.simulation.catalogue import pipelines
from tests.simulation.job import Job, Said, Submitted
from tests.simulation.relay import Relay

Life = Job | Relay
Key = tuple[Any, ...]
Place = tuple[int, int, int | None]
"""Partition, offset, index of a reading; None where a whole message can't be read."""


class End(NamedTuple):
    """Where a reading ended: answered under an epoch's plan (its digest) by these (role, model), none: its features."""

    epoch: int
    plan: str
    roles: frozenset[tuple[str, str]]


DEAD = End(-1, "", frozenset())
"""In a dead letter."""


class Sent(NamedTuple):
    """One frame of answers: its first record, and what its worker knew."""

    at: tuple[int, int]
    epoch: int
    position: int
    loaded: frozenset[str]
    submitted: Submitted


class Observed:
    """Fails when something is there twice, or when a frame doesn't follow the one before.

    `rows` by (topic, partition, offset, …); `arrived`: the epochs that began at arrival by (partition, offset), `aborted`: the tokens
    that were given up, `answers`: the event and plan by partition and offset of prepare tokens.
    """

    def __init__(self, job: Life) -> None:
        self.rows: dict[Key, Any] = {}
        self.sent: list[Sent] = []
        self.arrived: dict[tuple[int, int], int] = {}
        self.aborted: set[tuple[int, int]] = set()
        self.answers: dict[int, dict[int, tuple[str, str]]] = {}
        self._last: dict[tuple[str, int, str], Position] = {}
        lives = list(job.submitted)
        for number, said in enumerate(job.said):
            while len(lives) > 1 and lives[1].said <= number:
                lives.pop(0)
                self._begin_anew(lives[0])
            self._take(said)
        for one in lives[1:]:
            self._begin_anew(one)

    def _begin_anew(self, now: Submitted) -> None:
        """What was done at records that are read once more counts no longer."""
        self.arrived = {place: epoch for place, epoch in self.arrived.items() if place[1] < now.starts[place[0]]}
        self.aborted = {place for place in self.aborted if place[1] < now.starts[place[0]]}

    def _take(self, said: Said) -> None:
        partition, emission = said.partition, said.emission
        if emission.role == "ledger":
            self._row(partition, msgspec.json.decode(emission.value))
        elif emission.role == "dead_letters":
            letter = decode_dead_letter(emission.value)
            self._add(("dead", partition, letter.offset, letter.index), letter)
        elif emission.role == "anomalies":
            found = msgspec.json.decode(emission.value)
            self._add(("anomaly", partition, found["offset"], found["index"]), found)
        else:
            frame = decode_scores(emission.value)
            self.sent.append(Sent((partition, frame.first), frame.provenance.epoch, said.position, said.loaded, said.submitted))
            self._frame(emission.role, partition, frame)

    def _row(self, partition: int, row: dict[str, Any]) -> None:
        at = (partition, row["offset"])
        if row["event"] == "activated" and row["how"] == "arrival":
            self.arrived[at] = row["epoch"]
        elif row["event"] == "aborted":
            self.aborted.add(at)
        elif row["event"] in ("prepared", "refused", "rejected"):
            self.answers.setdefault(partition, {})[row["offset"]] = (row["event"], row["plan"])

    def _frame(self, role: str, partition: int, frame: ScoresFrame) -> None:
        where = frame.provenance
        chain = (role, partition, where.schema)
        assert frame.before in (BEFORE_ALL, self._last.get(chain, BEFORE_ALL)), f"{chain}: {frame.before} is not the one before"
        assert frame.before < (frame.first, frame.first_index) <= frame.end
        self._last[chain] = frame.end
        assert where.partition == partition
        if role == "features":
            width = 8 * len(frame.feature_names)
            for i, (offset, index) in enumerate(zip(frame.column("offsets").tolist(), frame.column("index").tolist(), strict=True)):
                content = (frame.features[i * width : (i + 1) * width], frame.warming[i], where.epoch, where.plan_digest)
                self._add(("features", partition, offset, index), content)
            return
        for row in frame.rows():
            score = None if row["score"] is None else float(row["score"]).hex()
            assert (score is None) == bool(row["error"])
            self._add(("scores", partition, row["offset"], row["index"], row["role"], row["model"]), {**row, "score": score})

    def _add(self, key: Key, content: Any) -> None:
        assert key not in self.rows, f"{key} is there twice"
        self.rows[key] = content

    def ends(self) -> dict[Place, End]:
        """Where each reading ended; fails when it ended in two places."""
        found: dict[Place, End] = {}
        for (topic, partition, offset, index, *who), content in self.rows.items():
            if topic == "anomaly":
                continue
            end = DEAD
            if topic == "features":
                end = End(*content[2:], frozenset())
            elif topic == "scores":
                end = End(content["epoch"], content["plan_digest"], frozenset([tuple(who)]))
            before = found.setdefault((partition, offset, index), end)
            if before is not end:
                together = before[:2] == end[:2] and bool(before.roles and end.roles)
                assert together, f"{partition, offset, index} ended in two places"
                found[partition, offset, index] = before._replace(roles=before.roles | end.roles)
        return found

    def first_epoch(self, partition: int, offset: int) -> int:
        """The epoch of the first answer from a record on, 0 when there is none."""
        return min(((sent.at[1], sent.epoch) for sent in self.sent if sent.at[0] == partition and sent.at[1] >= offset), default=(0, 0))[1]

    @property
    def refused_by_gate(self) -> set[str]:
        return {digest for digest, pipeline in pipelines().items() if pipeline.refusal}


def rows_of(job: Life) -> list[dict[str, Any]]:
    """All that was ever written to the ledger."""
    return [msgspec.json.decode(emission.value) for emission in job.ledger]


def done(job: Life) -> set[Key]:
    """What shards did at tokens, each once: rows may be written again, with the same id. Prepare tokens are left out:
    what they are answered depends on when."""
    asked = {(partition, entry.offset) for partition, log in enumerate(job.world.logs) for entry in log if entry.asks}
    told = ("id", "event", "epoch", "plan", "time")
    found = [row for row in rows_of(job) if row["event"] in ("activated", "rejected", "aborted")]
    return {tuple(row[name] for name in told) for row in found if (row["partition"], row["offset"]) not in asked}
