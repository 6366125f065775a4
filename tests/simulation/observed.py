"""What a job has put out, record by record."""

from __future__ import annotations

from typing import Any

import msgspec

from swapstream.operators.dead_letters import decode_dead_letter
from swapstream.operators.outputs import Emission
from swapstream.operators.scores import BEFORE_ALL, Position, ScoresFrame, decode_scores

Key = tuple[Any, ...]


class Observed:
    """Rows by (topic, partition, offset, …). Fails when there are two of one, or when a frame doesn't follow the one before."""

    def __init__(self, outputs: list[tuple[int, Emission]]) -> None:
        self.rows: dict[Key, Any] = {}
        self._last: dict[tuple[str, int, str], Position] = {}
        for partition, emission in outputs:
            if emission.role == "dead_letters":
                letter = decode_dead_letter(emission.value)
                self._add(("dead", partition, letter.offset, letter.index), letter)
            elif emission.role == "anomalies":
                found = msgspec.json.decode(emission.value)
                self._add(("anomaly", partition, found["offset"], found["index"]), found)
            else:
                self._frame(emission.role, partition, decode_scores(emission.value))

    def _frame(self, role: str, partition: int, frame: ScoresFrame) -> None:
        where = frame.provenance
        chain = (role, partition, where.schema)
        assert frame.before in (BEFORE_ALL, self._last.get(chain, BEFORE_ALL))
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
            self._add(("scores", partition, row["offset"], row["index"], row["role"], row["model"]), {**row, "score": score})

    def _add(self, key: Key, content: Any) -> None:
        assert key not in self.rows, f"{key} is there twice"
        self.rows[key] = content

    def ends(self) -> dict[tuple[int, int, int | None], tuple[str, int, str]]:
        """(partition, offset, index) → where the reading ended, under which epoch and plan; fails when it ended in two places."""
        found: dict[tuple[int, int, int | None], tuple[str, int, str]] = {}
        for (topic, partition, offset, index, *_), content in self.rows.items():
            if topic == "anomaly":
                continue
            end = ("dead", 0, "")
            if topic == "features":
                end = ("answered", *content[2:])
            elif topic == "scores":
                end = ("answered", content["epoch"], content["plan_digest"])
            assert found.setdefault((partition, offset, index), end) == end
        return found


def answers(ledger: list[Emission]) -> set[Key]:
    """What shards said of tokens, each once: rows may be written again, with the same id."""
    rows = [msgspec.json.decode(emission.value) for emission in ledger]
    told = ("id", "event", "epoch", "plan", "plan_name", "time")
    return {tuple(row.get(name) for name in told) for row in rows if row["event"] not in ("holding", "released")}
