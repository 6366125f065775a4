"""Throughput at full load while models are being prepared, and while none are: one run through a backlog that holds the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from statistics import fmean

import msgspec
import numpy as np

from benchmarks import measure
from benchmarks.arena import Arena
from benchmarks.candidates import submit
from benchmarks.changing import Target, must_be
from benchmarks.cuts import outside, union
from benchmarks.workload import fill
from swapstream.models.errors import ClusterError
from swapstream.operators.cut import Cut
from swapstream.operators.frame import Float64, Int64
from swapstream.operators.scores import decode_scores
from swapstream.scripts.acknowledge import Ledger, Row, one_each, prepares
from swapstream.scripts.controller import Controller
from swapstream.scripts.environment import Environment
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.publish import author_of

PATIENCE_S = 900.0
Spans = list[tuple[float, float]]


class Load(msgspec.Struct, frozen=True):
    """Readings/s while models are prepared, and right before and after, and for how many seconds each was measured; NaN where there
    was no such time. Only preparations with such time on both sides count: a job grows faster for a minute, and that is not their doing.
    """

    plain: float
    preparing: float
    plain_s: float
    preparing_s: float

    @property
    def drop(self) -> float:
        """Per cent."""
        return 100 * (1 - self.preparing / self.plain)


def full_load(arena: Arena, deployment: str, targets: Sequence[Target], readings: int) -> Load:
    """Fill telemetry, of each target `readings` before its prepare tokens and as many behind them, start the job and let it
    catch up. The first target is there to warm up: workers load ONNX Runtime then. Raises ClusterError."""
    environment = arena.environment
    cuts, scores = backlog(arena, deployment, targets, readings), environment.topics.scores.name
    before = measure.ends(environment, scores)
    job, flink = submit(arena, deployment), FlinkCommandLine(environment)

    def check() -> None:
        if failure := flink.rest.exception(job):
            raise ClusterError(f"the job failed: {failure}")

    measure.wait(environment, scores, before, check, PATIENCE_S)
    appended, counts, last = curve(environment, before)
    busy = union(span for cut in cuts for span in spans(answers(environment, cut)))
    total = np.cumsum(counts)
    if total[-1] != 2 * readings * len(targets):
        raise ClusterError(f"{total[-1]} of {2 * readings * len(targets)} readings were scored")
    begin = float(appended[np.searchsorted(total, total[-1] // len(targets))])
    return load(appended, total, begin, last, busy)


def backlog(arena: Arena, deployment: str, targets: Sequence[Target], readings: int) -> list[Cut]:
    """Readings and prepare tokens in turn; the tokens' offsets."""
    environment, cuts = arena.environment, []
    author = author_of(environment, "benchmark")
    for one in targets:
        fill(environment, arena.workload, readings)
        with Controller(environment, environment.job.namespace, deployment, author) as controller:
            cuts.append(controller.prepare(one.plan.digest).cut)
        fill(environment, arena.workload, readings)
    return cuts


def answers(environment: Environment, cut: Cut) -> list[Row]:
    """How each shard answered to a prepare token. Raises ClusterError when one refused."""
    with closing(Ledger(environment, "earliest")) as ledger:
        rows = list(one_each(ledger, set(cut.offsets), lambda row: prepares(row, cut), 30.0, "did not answer to a prepare token"))
    must_be("prepared", rows)
    return rows


def spans(rows: Sequence[Row]) -> Spans:
    """When each shard waited for its models, in ms."""
    return [(row["written"] - (row.get("took_ms") or 0.0), float(row["written"])) for row in rows]


def curve(environment: Environment, before: measure.Offsets) -> tuple[Int64, Int64, float]:
    """When messages of scores were appended, in order, how many readings each holds, and when the first partition was done."""
    found = [(message.appended, len(decode_scores(message.value)), message.partition)
             for message in measure.messages(environment, environment.topics.scores.name, before)]
    appended, counts, partitions = (np.array(column) for column in zip(*sorted(found), strict=True))
    return appended, counts, float(min(appended[partitions == partition].max() for partition in set(partitions.tolist())))


def load(appended: Int64, total: Int64, begin: float, end: float, busy: Spans) -> Load:
    """Rates between `begin` and `end`; `total` is how many readings there were by `appended`, `busy` is in order and does not overlap."""
    spans = [(a, b) for a, b in busy if begin < a and b < end]
    gaps = outside(begin, end, [(max(begin, a), min(end, b)) for a, b in busy if b > begin and a < end])
    beside = [[gap for gap in gaps if a in gap or b in gap] for a, b in spans]
    counted = [(span, near) for span, near in zip(spans, beside, strict=True) if len(near) == 2]
    seconds = np.array([(b - a) / 1000 for (a, b), _ in counted])
    preparing = [rate(appended, total, span) for span, _ in counted]
    plain = [fmean(rate(appended, total, gap) for gap in near) for _, near in counted]
    rested = {gap for _, near in counted for gap in near}
    return Load(mean(plain, seconds), mean(preparing, seconds), sum(b - a for a, b in rested) / 1000, float(seconds.sum()))


def mean(rates: Sequence[float], seconds: Float64) -> float:
    """Of rates that held for so many seconds each; NaN of none."""
    return float(np.average(rates, weights=seconds)) if len(rates) else float("nan")


def rate(appended: Int64, total: Int64, span: tuple[float, float]) -> float:
    """Readings a second in a span of time."""
    moments, last = np.unique(appended, return_index=True)
    so_far = np.append(total[last[1:] - 1], total[-1])
    return float(np.diff(np.interp(span, moments, so_far))[0]) / ((span[1] - span[0]) / 1000)
