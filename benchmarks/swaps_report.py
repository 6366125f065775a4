"""What `swaps` found: its figures as tables, a picture, and the goals that were missed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from benchmarks.changing import Swap
from benchmarks.cuts import within
from benchmarks.listener import Heard
from benchmarks.loading import Load
from benchmarks.measure import percentiles
from benchmarks.ways import Size, Way
from swapstream.operators.frame import Bool
from swapstream.scripts.console import show
from swapstream.scripts.figure import blank, save

GOALS = {"p50": 100.0, "p99": 300.0, "added": 50.0, "drop": 5.0}
"""ms, ms, ms, per cent."""
AROUND_MS = 500.0


class Latency(msgspec.Struct, frozen=True):
    """ms from when a reading was due to its score at a reader: far from swaps, in the second around one, around one for which a model
    had been loaded, and while one was being loaded."""

    elsewhere: dict[str, float]
    around: dict[str, float]
    around_fresh: dict[str, float]
    loading: dict[str, float]

    @property
    def added(self) -> float:
        """To the 99th percentile, around a swap."""
        return self.around["p99"] - self.elsewhere["p99"]


class Found(msgspec.Struct, frozen=True):
    """Everything that was measured."""

    load: Load
    swaps: list[Swap]
    activation: dict[str, float]
    latency: Latency
    ways: list[Way]


def latencies(heard: Heard, swaps: list[Swap], warm_up: float) -> Latency:
    """Of the readings since the end of the warm-up."""
    counted = heard.due >= heard.due.min() + warm_up * 1000
    due, waited = heard.due[counted], heard.waited[counted]

    def around(some: list[Swap]) -> Bool:
        return within(due, [(swap.committed - AROUND_MS, swap.committed + AROUND_MS) for swap in some])

    fresh = [swap for swap in swaps if swap.fresh]
    preparing = within(due, [(swap.asked, swap.prepared) for swap in swaps])
    loading = within(due, [(swap.asked, swap.prepared) for swap in fresh])
    groups = (~around(swaps) & ~preparing, around(swaps), around(fresh), loading)
    return Latency(*(percentiles(waited[rows], (50, 90, 99)) for rows in groups))


def tables(found: Found, size: Size, frames: dict[str, int]) -> None:
    """What the goals are about, latencies, and the ways beside each other."""
    barrier, activation = found.ways[0].count, found.activation
    rows = [
        ("records by another version than their offset implies", f"{barrier.other:,} of {barrier.records:,}", "0"),
        ("records lost, there twice", f"{barrier.lost:,}, {barrier.twice:,}", "0, 0"),
        ("commit to the last shard's activation, p50", f"{activation['p50']:.0f} ms", f"{GOALS['p50']:.0f} ms"),
        ("commit to the last shard's activation, p99", f"{activation['p99']:.0f} ms", f"{GOALS['p99']:.0f} ms"),
        ("records waited for a token, longest in a shard", f"{max(swap.pause_ms for swap in found.swaps):.1f} ms", ""),
        ("every shard prepared, p50", prepared([swap for swap in found.swaps if not swap.fresh]), ""),
        ("every shard prepared where a large model had to be loaded, p50", prepared([swap for swap in found.swaps if swap.fresh]), ""),
        ("added to p99 latency in the second around a swap", f"{found.latency.added:.0f} ms", f"{GOALS['added']:.0f} ms"),
        ("full load, readings/s without and with models being prepared", f"{found.load.plain:,.0f}, {found.load.preparing:,.0f}", ""),
        ("less while models are being prepared", f"{found.load.drop:.1f} %", f"{GOALS['drop']:.0f} %"),
    ]
    title = f"{len(found.swaps)} swaps at {size.rate:,} readings/s, a model of {size.model_mb} MB, exactly once, {frames}"
    show([dict(zip(("what", "measured", "goal"), row, strict=True)) for row in rows], ["what", "measured", "goal"], False, title)
    spans = {"far from swaps": found.latency.elsewhere, "in the second around a swap": found.latency.around,
             "of these, to a model loaded for it": found.latency.around_fresh, "while such a model is loaded": found.latency.loading}
    show([{"ms from due to scored": name, **{key: f"{value:.0f}" for key, value in row.items()}} for name, row in spans.items()],
         ["ms from due to scored", *found.latency.elsewhere], False, "Latency, read uncommitted")
    names = [way.name for way in found.ways]
    columns = [compared(way) for way in found.ways]
    show([{"": what, **{name: column[what] for name, column in zip(names, columns, strict=True)}} for what in columns[0]],
         ["", *names], False, "The same change")


def prepared(swaps: list[Swap]) -> str:
    return f"{percentiles([swap.prepared - swap.asked for swap in swaps])['p50']:.0f} ms"


def compared(way: Way) -> dict[str, str]:
    count = way.count
    return {
        "changes": str(way.changes),
        "records": f"{count.records:,}",
        "by another version than their offset implies": f"{count.other:,}",
        "by another version than was announced": f"{way.surprised:,}",
        "lost, there twice": f"{count.lost:,}, {count.twice:,}" if way.guaranteed else "",
        "seen in every partition after, median": f"{np.median(way.seen) / 1000:.2f} s",
        "longest": f"{max(way.seen) / 1000:.2f} s",
        "longest pause of a partition's output": f"{way.pause / 1000:.2f} s",
    }


def missed(found: Found) -> list[str]:
    """The goals that were, in words. What could not be measured is NaN, and reaches none."""
    barrier = found.ways[0].count
    wrong = {"scored by another version": barrier.other, "lost": barrier.lost, "there twice": barrier.twice}
    said = [f"{number:,} records {what}" for what, number in wrong.items() if number]
    said += [f"{name} from commit to activation is {found.activation[name]:.0f} ms, not under {GOALS[name]:.0f}"
             for name in ("p50", "p99") if not found.activation[name] < GOALS[name]]
    if not found.latency.added < GOALS["added"]:
        said.append(f"a swap adds {found.latency.added:.0f} ms to p99, not under {GOALS['added']:.0f}")
    if not found.load.drop < GOALS["drop"]:
        said.append(f"preparing models costs {found.load.drop:.1f} % of the throughput, not under {GOALS['drop']:.0f}")
    said += [f"{way.name}: {way.wrong:,} records by another version than their offset implies, lost or there twice"
             for way in found.ways[1:] if way.guaranteed and way.wrong]
    return said


def draw(file: Path, found: Found, heard: Heard) -> None:
    """The 99th percentile of each quarter of a second with the swaps in it, and how long each took."""
    figure = blank(2)
    above, below = figure.subplots(2, 1)
    order = np.argsort(heard.due)
    quarter = ((heard.due[order] - heard.due.min()) / 250).astype(int)
    shown, first = np.unique(quarter, return_index=True)
    above.plot(shown / 4, [np.percentile(waited, 99) for waited in np.split(heard.waited[order], first[1:])], label="p99")
    above.vlines([(swap.committed - heard.due.min()) / 1000 for swap in found.swaps], 0, 1, "tab:orange",
                 transform=above.get_xaxis_transform(), alpha=0.4, label="swap")
    above.set(xlabel="second", ylabel="ms from due to scored", ylim=0)
    above.legend()
    below.plot([swap.took_ms for swap in found.swaps], "o-")
    below.set(xlabel="swap", ylabel="ms from commit to the last activation", ylim=0)
    save(figure, file)
