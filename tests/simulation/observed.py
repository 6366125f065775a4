"""What a job has put out, record by record."""

from __future__ import annotations

from typing import Any

import msgspec

from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import ScoresFrame, decode_scores

Key = tuple[Any, ...]


class Observed:
    """Rows by (topic, partition, offset, …). Fails when there are two of one, or when a frame doesn't follow the one before."""

    def __init__(self, outputs: list[tuple[int, Emission]]) -> None:
        self.rows: dict[Key, Any] = {}
        self._last: dict[tuple[str, int], int] = {}
        for partition, emission in outputs:
            if emission.role == "dead_letters":
                letter = decode_dead_letter(emission.value)
                self._add(("dead", partition, letter.offset), letter)
            elif emission.role == "anomalies":
                found = msgspec.json.decode(emission.value)
                self._add(("anomaly", partition, found["offset"]), found)
            else:
                self._frame(emission.role, partition, decode_scores(emission.value))

    def _frame(self, role: str, partition: int, frame: ScoresFrame) -> None:
        assert frame.prev in (-1, self._last.get((role, partition), -1))
        assert frame.prev < frame.first <= frame.last
        self._last[role, partition] = frame.last
        where = frame.provenance
        assert where.partition == partition
        if role == "features":
            width = 8 * len(frame.feature_names)
            for i, offset in enumerate(frame.column("offsets").tolist()):
                content = (frame.features[i * width : (i + 1) * width], frame.warming[i], where.epoch, where.plan_digest)
                self._add(("features", partition, offset), content)
            return
        for row in frame.rows():
            score = None if row["score"] is None else float(row["score"]).hex()
            self._add(("scores", partition, row["offset"], row["role"], row["model"]), {**row, "score": score})

    def _add(self, key: Key, content: Any) -> None:
        assert key not in self.rows, f"{key} is there twice"
        self.rows[key] = content

    def ends(self) -> dict[tuple[int, int], tuple[str, int, str]]:
        """(partition, offset) → where the record ended, under which epoch and plan; fails when it ended in two places."""
        found: dict[tuple[int, int], tuple[str, int, str]] = {}
        for (topic, partition, offset, *_), content in self.rows.items():
            if topic == "anomaly":
                continue
            end = ("dead", 0, "")
            if topic == "features":
                end = ("answered", *content[2:])
            elif topic == "scores":
                end = ("answered", content["epoch"], content["plan_digest"])
            assert found.setdefault((partition, offset), end) == end
        return found


def answers(ledger: list[Emission]) -> set[Key]:
    """What shards said of tokens, each once: rows may be written again, with the same id."""
    rows = [msgspec.json.decode(emission.value) for emission in ledger]
    told = ("id", "event", "epoch", "plan", "plan_name", "time")
    return {tuple(row.get(name) for name in told) for row in rows if row["event"] != "holding"}
