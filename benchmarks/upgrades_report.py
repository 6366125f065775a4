"""What `upgrades` found: its figures as tables, a picture, and the goals that were missed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from benchmarks.cuts import Count, within
from benchmarks.handing_over import Upgrade
from benchmarks.lineage import Compared
from benchmarks.listener import Heard
from benchmarks.measure import percentiles
from benchmarks.ordering import Order
from swapstream.scripts.console import show
from swapstream.scripts.figure import blank, save

GOALS = {"added": 100.0, "downtime": 15.0}
"""ms to a reader of everything; s. To a reader of what is committed less than a checkpoint interval may be added."""
AROUND_MS = 500.0


class Size(msgspec.Struct, frozen=True):
    """How much of everything; see the command's options."""

    upgrades: int
    rate: int
    rest: float
    warm_up: int
    devices: int
    many: int
    stops: int


class Latency(msgspec.Struct, frozen=True):
    """ms from when a reading was due to its score at a reader: while one job runs, while a second one starts and catches up, in the second
    around the tokens' commit, and from then to the end of the old job. `each`: the 99th percentile around the tokens of each handover."""

    alone: dict[str, float]
    starting: dict[str, float]
    around: dict[str, float]
    retiring: dict[str, float]
    each: list[float]

    @property
    def added(self) -> float:
        """To the 99th percentile, around the tokens."""
        return self.around["p99"] - self.alone["p99"]

    @property
    def added_each(self) -> str:
        """The same of the first handover, which nothing has warmed up, of the median one and of the slowest behind the first."""
        added = np.array(self.each) - self.alone["p99"]
        return f"{added[0]:.0f}, {np.median(added):.0f}, {(added[1:] if len(added) > 1 else added).max():.0f} ms"


class Handovers(msgspec.Struct, frozen=True):
    """In a row."""

    upgrades: list[Upgrade]
    count: Count
    order: Order
    state: Compared
    every: Latency
    committed: Latency


class Mode(msgspec.Struct, frozen=True):
    """Upgrades of one kind, of a job that knows many devices. `pauses`: the longest time in ms without output of a partition, of each."""

    name: str
    upgrades: list[Upgrade]
    pauses: list[float]
    lost: int
    twice: int

    @property
    def downtime(self) -> float:
        """The longest, in s, as the command says it; of a mode that has none, of the output."""
        told = [one.downtime_s for one in self.upgrades if one.downtime_s is not None]
        return max(told) if told else max(self.pauses) / 1000


class Found(msgspec.Struct, frozen=True):
    """Everything that was measured; the checkpoint interval in ms."""

    handovers: Handovers
    modes: list[Mode]
    interval: int


def latencies(heard: Heard, upgrades: list[Upgrade], warm_up: float) -> Latency:
    """Of the readings since the end of the warm-up."""
    counted = heard.due >= heard.due.min() + warm_up * 1000
    due, waited = heard.due[counted], heard.waited[counted]
    seconds = [(one.committed - AROUND_MS, one.committed + AROUND_MS) for one in upgrades]
    around = within(due, seconds)
    starting = within(due, [(one.began, one.committed) for one in upgrades]) & ~around
    retiring = within(due, [(one.committed, one.ended) for one in upgrades]) & ~around
    alone = ~(starting | around | retiring)
    each = [percentiles(waited[within(due, [second])], (99,))["p99"] for second in seconds]
    found = {name: percentiles(waited[rows], (50, 99)) for name, rows in
             (("alone", alone), ("starting", starting), ("around", around), ("retiring", retiring))}  # fmt: skip
    return Latency(**found, each=each)


def tables(found: Found, size: Size) -> None:
    """What the goals are about, latencies, and the two ways beside each other."""
    hand, order, state = found.handovers, found.handovers.order, found.handovers.state
    count, seconds = hand.count, [one.seconds for one in hand.upgrades]
    rows = [
        ("records by another extractor than their offset implies", f"{count.other:,} of {count.records:,}", "0"),
        ("records lost, there twice", f"{count.lost:,}, {count.twice:,}", "0, 0"),
        ("gaps and repeats in the chain, records out of order behind it", f"{order.gaps}, {order.repeats}, {order.behind}", "0, 0, 0"),
        ("frames that came before the one they follow on", f"{order.early:,} of {order.frames:,}", ""),
        ("shards whose device state is not that of a replay", f"{len(state.different)} ({state.devices:,} devices)", "0"),
        ("added to p99 in the second around the tokens, read uncommitted", f"{hand.every.added:.0f} ms", f"{GOALS['added']:.0f} ms"),
        ("the same, read committed", f"{hand.committed.added:.0f} ms", f"{found.interval} ms"),
        ("of the first handover, the median one, the slowest of the others: read uncommitted", hand.every.added_each, ""),
        ("the same, read committed", hand.committed.added_each, ""),
        ("an upgrade takes, median and longest", f"{np.median(seconds):.1f} s, {max(seconds):.1f} s", ""),
    ]
    title = f"{len(hand.upgrades)} handovers at {size.rate:,} readings/s, {size.devices:,} devices, exactly once"
    show([dict(zip(("what", "measured", "goal"), row, strict=True)) for row in rows], ["what", "measured", "goal"], False, title)
    spans = [(name, getattr(hand.every, key), getattr(hand.committed, key)) for name, key in (
        ("one job alone", "alone"), ("the second one starts and catches up", "starting"),
        ("in the second around the tokens", "around"), ("until the old job has ended", "retiring"))]  # fmt: skip
    show([{"ms from due to scored": name, "uncommitted p50": f"{every['p50']:.0f}", "p99": f"{every['p99']:.0f}",
           "committed p50": f"{committed['p50']:.0f}", " p99": f"{committed['p99']:.0f}"} for name, every, committed in spans],
         ["ms from due to scored", "uncommitted p50", "p99", "committed p50", " p99"], False, "Latency")  # fmt: skip
    show([compared(mode) for mode in found.modes], list(compared(found.modes[0])), False, f"{size.many:,} devices")
    steps = hand.upgrades[0].steps
    show([{"step": step, "median, s": f"{np.median([one.steps.get(step, np.nan) for one in hand.upgrades]):.2f}"} for step in steps],
         ["step", "median, s"], False, "Steps of a handover")


def compared(mode: Mode) -> dict[str, str]:
    return {
        "mode": mode.name,
        "upgrades": str(len(mode.upgrades)),
        "downtime, s": ", ".join("none" if one.downtime_s is None else f"{one.downtime_s:.1f}" for one in mode.upgrades),
        "longest pause of a partition's output, s": f"{max(mode.pauses) / 1000:.2f}",
        "the command takes, s": f"{np.median([one.seconds for one in mode.upgrades]):.1f}",
        "lost, twice": f"{mode.lost}, {mode.twice}",
    }


def missed(found: Found) -> list[str]:
    """The goals that were, in words. What could not be measured is NaN, and reaches none."""
    hand = found.handovers
    wrong = {
        "records by another extractor": hand.count.other, "records lost": hand.count.lost, "records there twice": hand.count.twice,
        "gaps in the chain": hand.order.gaps, "repeats in it": hand.order.repeats, "records out of order": hand.order.behind,
        "plans with two extractors": hand.order.mixed, "shards with another state than a replay": len(hand.state.different),
        **{f"records lost or twice by {mode.name}": mode.lost + mode.twice for mode in found.modes},
    }  # fmt: skip
    said = [f"{number:,} {what}" for what, number in wrong.items() if number]
    if not hand.every.added < GOALS["added"]:
        said.append(f"a handover adds {hand.every.added:.0f} ms to p99, not under {GOALS['added']:.0f}")
    if not hand.committed.added < found.interval:
        said.append(f"read committed it adds {hand.committed.added:.0f} ms, not under {found.interval}")
    said += [f"{mode.name}: a downtime of {mode.downtime:.1f} s, not under {GOALS['downtime']:.0f}"
             for mode in found.modes if not mode.downtime < GOALS["downtime"]]
    return said


def draw(file: Path, found: Found) -> None:
    """Seconds of each step of each handover."""
    figure = blank(1)
    panel, hand = figure.subplots(1, 1), found.handovers.upgrades
    below = np.zeros(len(hand))
    for step in hand[0].steps:
        seconds = np.array([one.steps.get(step, 0.0) for one in hand])
        panel.bar(range(1, len(hand) + 1), seconds, bottom=below, label=step)
        below += seconds
    panel.set(xlabel="handover", ylabel="seconds", ylim=0)
    panel.legend()
    save(figure, file)
