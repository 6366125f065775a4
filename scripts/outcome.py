"""What a change of plan did, shard by shard: how each was prepared, where its cut lies, how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swapstream.operators.cut import Cut
from swapstream.scripts.acknowledge import Row
from swapstream.scripts.console import show
from swapstream.scripts.controller import Swapped
from swapstream.scripts.lag import Lag

COLUMNS = ("partition", "prepared", "cut_offset", "event", "seconds", "pause_ms", "behind", "reason")


class Outcome:
    """Filled in as answers come; `rows` are one a partition."""

    def __init__(self, deployment: str, plan: str, digest: str) -> None:
        self._shared: dict[str, Any] = {"deployment": deployment, "plan": plan, "plan_digest": digest}
        self._rows: dict[int, Row] = {}
        self._committed = 0.0

    @property
    def rows(self) -> list[Row]:
        """By partition; what concerns them all stands in each."""
        pauses = [row["pause_ms"] for row in self._rows.values() if row["pause_ms"] is not None]
        taken = [row["seconds"] for row in self._rows.values() if row["seconds"] is not None]
        whole = {"longest_pause_ms": max(pauses, default=None), "last_seconds": max(taken, default=None)}
        return [{**self._shared, **row, **whole} for _, row in sorted(self._rows.items())]

    def show(self, as_json: bool) -> None:
        """Print what is known by now, if anything is; people see no empty columns."""
        rows = self.rows
        if rows:
            title = f"{rows[0]['deployment']}, epoch {rows[0]['epoch']}: plan {rows[0]['plan']!r}"
            show(rows, [column for column in COLUMNS if any(row[column] is not None for row in rows)], as_json, title)

    def asked(self, cut: Cut) -> None:
        """Prepare tokens are written."""
        self._shared |= {"epoch": cut.epoch, "topic": cut.topic}
        for partition in cut.offsets:
            self._row(partition)

    def prepared(self, answer: Row) -> None:
        """A shard's answer to its prepare token."""
        ready = answer["event"] == "prepared"
        self._row(answer["partition"]).update(
            prepared="yes" if ready else answer["event"], prepare_ms=answer.get("took_ms"), reason=None if ready else answer.get("reason")
        )

    def cut(self, swapped: Swapped, partitions: list[int]) -> None:
        """The change is written, or stood before."""
        cut, self._committed = swapped.cut, swapped.committed
        self._shared |= {"epoch": cut.epoch, "topic": cut.topic, "written": swapped.written, "transaction_s": round(swapped.seconds, 3)}
        for partition in partitions:
            self._row(partition).update(
                cut_offset=cut.offsets.get(partition), event="written" if swapped.written else "stood before"
            )

    def acknowledged(self, answer: Row) -> Row:
        """A shard's answer to the cut; returns its row."""
        row = self._row(answer["partition"])
        row.update(
            event=answer["event"],
            cut_offset=answer.get("offset"),
            pause_ms=answer.get("took_ms"),
            how=answer.get("how"),
            job=answer.get("job"),
            reason=answer.get("reason") if answer["event"] != "activated" else None,
        )
        if self._committed and answer.get("written") is not None:
            row["seconds"] = round(max(0.0, answer["written"] - self._committed) / 1000, 3)
        return row

    def lagging(self, lags: Mapping[int, Lag], partitions: set[int]) -> None:
        """How far the shards that have not answered were from their cut when they were first asked."""
        for partition in partitions & lags.keys():
            row = self._row(partition)
            if row["behind"] is None:
                lag = lags[partition]
                row.update(behind=str(lag), behind_records=lag.records, behind_s=lag.seconds)

    def refusals(self) -> list[Row]:
        """The rows of shards that can't run the plan."""
        return [row for row in self.rows if row["prepared"] not in (None, "yes")]

    def rejections(self) -> list[Row]:
        """The rows of shards on which the cut had no effect."""
        return [row for row in self.rows if row["event"] in ("rejected", "aborted")]

    def summary(self) -> str:
        """What is to be said of a change that was waited for."""
        rows = self.rows
        taken, pause, opened = rows[0]["last_seconds"], rows[0]["longest_pause_ms"], rows[0]["transaction_s"]
        active = sum(row["event"] == "activated" for row in rows)
        parts = [f"epoch {rows[0]['epoch']} is in force in {active} of {len(rows)} shards"]
        if taken is not None:
            parts.append(f"{taken:.3f} s after the commit (the transaction was open for {opened:.3f} s)")
        if pause is not None:
            parts.append(f"the longest pause of a shard was {pause:.1f} ms")
        return ", ".join(parts)

    def _row(self, partition: int) -> Row:
        empty = ("prepared", "prepare_ms", "cut_offset", "event", "how", "job", "seconds", "pause_ms", "behind", "behind_records",
                 "behind_s", "reason")  # fmt: skip
        return self._rows.setdefault(partition, {"partition": partition, **dict.fromkeys(empty)})
