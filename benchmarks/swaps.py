"""`python -m benchmarks.swaps`: what a swap costs while records flow, and the same change by a restart and by polling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from benchmarks import cuts, measure, report, versions
from benchmarks.arena import Arena
from benchmarks.changing import Swap, Target, percentiles, swap_all, target
from benchmarks.cluster import RIVAL, STAMPED, cluster, directory
from benchmarks.cuts import Change, Count, within
from benchmarks.feeder import Feeder, Timed
from benchmarks.large import versions as large_versions
from benchmarks.listener import Heard, Listener
from benchmarks.loading import Load, full_load
from benchmarks.measure import Offsets
from benchmarks.polling import poll
from benchmarks.restarting import Restart, restart
from benchmarks.workload import PARTITIONS
from swapstream.models.errors import ClusterError
from swapstream.operators.frame import Bool
from swapstream.scripts.console import say, show
from swapstream.scripts.environment import Environment
from swapstream.scripts.job import cancel

NAME = "swaps"
DEVICES = 1_000
GOALS = {"p50": 100.0, "p99": 300.0, "added": 50.0, "drop": 5.0}
"""ms, ms, ms, per cent."""
TOPICS = {"telemetry": {"name": "telemetry", "partitions": PARTITIONS},
          "scores": {"name": "scores", "partitions": PARTITIONS, "config": STAMPED},
          "ledger": {"name": "ledger", "partitions": 1, "config": STAMPED}}
AROUND_MS = 500.0
LONG_S = 36_000
STEADY_S = 5.0
"""Before the first restart and after each."""
PATIENCE_S = 600.0
COMPARED = ("change by", "changes", "records", "by another version than announced", "that no one cut explains", "lost", "twice",
            "seen everywhere after, s", "longest, s", "longest pause of output, s")


class Size(msgspec.Struct, frozen=True):
    """How much of everything; see the command's options."""

    swaps: int
    rate: int
    every: float
    warm_up: int
    model_mb: int
    fresh: int
    readings: int
    rounds: int
    at_once: int
    restarts: int
    polls: int


class Way(msgspec.Struct, frozen=True):
    """One way to make the change: `seen`, ms from each announcement until every partition had output of the new version; `pause`, the
    longest time in ms without output of a partition."""

    name: str
    changes: int
    count: Count
    seen: list[float]
    pause: float
    guaranteed: bool = True


class Stage(msgspec.Struct, frozen=True):
    """A running job: the plan with a small model, which it was submitted with, and those with a large one."""

    arena: Arena
    size: Size
    small: Target
    larges: list[Target]

    @property
    def environment(self) -> Environment:
        return self.arena.environment

    def targets(self) -> list[Target]:
        """The large model and the small one in turn; from time to time the large one is a new version."""
        half = -(-self.size.swaps // 2)
        return [self.small if number % 2 else self.larges[number // 2 * len(self.larges) // half] for number in range(self.size.swaps)]

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Readings come meanwhile. Raises ClusterError, ChildProcessError when they stopped."""
        with Feeder(self.environment, DEVICES, self.size.rate * LONG_S, self.size.rate) as feeder:
            yield
            if feeder.fed:
                raise ClusterError(f"the feeder ended after {self.size.rate * LONG_S} readings")


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


@click.command()
@click.option("--swaps", default=100, show_default=True, type=click.IntRange(2), help="Barrier swaps in a row.")
@click.option("--rate", default=20_000, show_default=True, type=click.IntRange(100), help="Readings a second.")
@click.option("--every", default=2.5, show_default=True, type=click.FloatRange(1.5), help="Seconds from swap to swap, on average.")
@click.option("--warm-up", default=20, show_default=True, type=click.IntRange(1), help="Seconds before the first swap.")
@click.option("--model-mb", default=10, show_default=True, type=click.IntRange(1, 50), help="MB of the large ONNX model.")
@click.option("--fresh", default=10, show_default=True, type=click.IntRange(1), help="How many versions of it are swapped to.")
@click.option("--readings", default=500_000, show_default=True, type=click.IntRange(10_000),
              help="At full load: readings before prepare tokens, and behind them.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="At full load: how often models are prepared.")
@click.option("--at-once", default=4, show_default=True, type=click.IntRange(1), help="At full load: large models prepared at once.")
@click.option("--restarts", default=3, show_default=True, type=click.IntRange(0), help="Changes by stop-with-savepoint and restart.")
@click.option("--polls", default=10, show_default=True, type=click.IntRange(0), help="Changes by polling refresh.")
@click.option("--frame-ms", type=click.IntRange(1), help="How long a frame collects.  [default: the environment's]")
@report.options
def main(frame_ms: int | None, json_file: Path | None, plot: Path | None, keep: bool, **size: Any) -> None:
    """Measure; exits with 1 when a goal is missed. Exactly once; the reader whose latency is measured reads uncommitted."""
    wanted, job = Size(**size), {"frame_ms": frame_ms} if frame_ms else {}
    with directory(keep) as path, cluster(path, topics=TOPICS, job=job) as environment:
        found, heard = measured(environment, path, wanted)
        frames = environment.job.pace(environment.job.delivery)
    tables(found, wanted, frames)
    report.write_json(json_file, size=wanted, frames=frames, goals=GOALS, found=found, added_ms=found.latency.added,
                      drop_percent=found.load.drop)
    if plot:
        draw(plot, found, heard)
    report.verdict(missed(found))


def measured(environment: Environment, path: Path, size: Size) -> tuple[Found, Heard]:
    """One thing after the other, on one cluster."""
    arena = Arena.filled(environment, path, Timed(DEVICES), 0)
    models = large_versions(size.model_mb, tuple(arena.model.manifest.features), size.fresh + size.rounds * size.at_once)
    fresh, rest = models[: size.fresh], models[size.fresh :]
    stage = Stage(arena, size, target(environment, path, arena.workload, "small", [arena.model]),
                  [target(environment, path, arena.workload, model.ref.replace(":", "-"), [model]) for model in fresh])
    batches = [target(environment, path, arena.workload, f"prepared-{number}", rest[number * size.at_once :][: size.at_once])
               for number in range(size.rounds)]
    _, load = full_load(arena, NAME, batches, size.readings)
    say(f"full load: {load.plain:,.0f} readings/s, {load.preparing:,.0f} while models are prepared")
    swaps, heard, barrier = swapped(stage)
    ways = [barrier]
    if size.restarts:
        ways.append(restarted(stage, swaps))
    cancel(environment, NAME)
    if size.polls:
        ways.append(polled(stage))
    return Found(load, swaps, percentiles([swap.took_ms for swap in swaps]), latencies(heard, swaps, size.warm_up), ways), heard


def swapped(stage: Stage) -> tuple[list[Swap], Heard, Way]:
    """Barrier swaps while readings flow, and a listener beside them."""
    environment, (telemetry, scores) = stage.environment, ends(stage.environment)
    with stage.flowing(), Listener(environment, scores, stage.arena.directory / "heard.npz") as listener:
        time.sleep(stage.size.warm_up)
        swaps = swap_all(environment, NAME, stage.targets(), stage.size.every, stage.small)
        heard = listener.heard()
    complete(environment, scores)
    plans = {0: stage.small.plan.digest, **{swap.epoch: swap.plan for swap in swaps}}
    changes = [Change(swap.epoch, swap.committed, swap.offsets) for swap in swaps]
    return swaps, heard, way("barrier swap", environment, telemetry, scores, changes, plans, 0)


def restarted(stage: Stage, swaps: list[Swap]) -> Way:
    """Stop-with-savepoint and restart, back and forth, while readings flow."""
    environment, (telemetry, scores) = stage.environment, ends(stage.environment)
    small_is_next = swaps[-1].plan != stage.small.plan.digest
    done: list[Restart] = []
    with stage.flowing():
        time.sleep(STEADY_S)
        for number in range(stage.size.restarts):
            done.append(restart(environment, NAME, stage.small if (number % 2 == 0) == small_is_next else stage.larges[-1]))
            say(f"restarted in {(done[-1].back - done[-1].change.announced) / 1000:.1f} s")
            time.sleep(STEADY_S)
    complete(environment, scores)
    plans = {swaps[-1].epoch: swaps[-1].plan, **{one.change.version: one.plan for one in done}}
    return way("savepoint and restart", environment, telemetry, scores, [one.change for one in done], plans, swaps[-1].epoch)


def polled(stage: Stage) -> Way:
    """The polling rival, alone on the machine but for the cluster."""
    before = measure.ends(stage.environment, RIVAL)
    with stage.flowing():
        time.sleep(STEADY_S)
        changes = poll(stage.arena, stage.size.polls)
    found = cuts.by_partition(versions.polled(stage.environment, before))
    count = cuts.count(found, {partition: each.offsets for partition, each in found.items()}, changes, 0)
    return Way("polling refresh", len(changes), count, cuts.seen_after(found, changes), cuts.longest_pause(found), guaranteed=False)


def way(name: str, environment: Environment, telemetry: Offsets, scores: Offsets, changes: list[Change], plans: dict[int, str],
        first: int) -> Way:  # fmt: skip
    """What came of these changes, by what was written since."""
    found = cuts.by_partition(versions.scored(environment, scores, plans))
    there = versions.readings(environment, telemetry, measure.ends(environment, environment.topics.telemetry.name))
    pause = cuts.longest_pause(found, changes[0].announced)
    return Way(name, len(changes), cuts.count(found, there, changes, first), cuts.seen_after(found, changes), pause)


def ends(environment: Environment) -> tuple[Offsets, Offsets]:
    """Of telemetry and of scores, now."""
    topics = environment.topics
    return measure.ends(environment, topics.telemetry.name), measure.ends(environment, topics.scores.name)


def complete(environment: Environment, since: Offsets) -> None:
    """Return when all that was fed is scored and committed."""
    measure.wait(environment, environment.topics.scores.name, since, lambda: None, PATIENCE_S)


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
    show([compared(way) for way in found.ways], COMPARED, False, "The same change")


def prepared(swaps: list[Swap]) -> str:
    return f"{percentiles([swap.prepared - swap.asked for swap in swaps])['p50']:.0f} ms"


def compared(way: Way) -> dict[str, str]:
    count = way.count
    kept = (f"{count.lost:,}", f"{count.twice:,}") if way.guaranteed else ("", "")
    figures = (way.name, str(way.changes), f"{count.records:,}", f"{count.other:,}", f"{count.mixed:,}", *kept,
               f"{np.median(way.seen) / 1000:.2f}", f"{max(way.seen) / 1000:.2f}", f"{way.pause / 1000:.2f}")
    return dict(zip(COMPARED, figures, strict=True))


def missed(found: Found) -> list[str]:
    """The goals that were, in words."""
    barrier = found.ways[0].count
    wrong = {"scored by another version": barrier.other, "lost": barrier.lost, "there twice": barrier.twice}
    said = [f"{number:,} records {what}" for what, number in wrong.items() if number]
    said += [f"{name} from commit to activation is {found.activation[name]:.0f} ms, not under {GOALS[name]:.0f}"
             for name in ("p50", "p99") if found.activation[name] >= GOALS[name]]
    if found.latency.added >= GOALS["added"]:
        said.append(f"a swap adds {found.latency.added:.0f} ms to p99, not under {GOALS['added']:.0f}")
    if found.load.drop >= GOALS["drop"]:
        said.append(f"preparing models costs {found.load.drop:.1f} % of the throughput, not under {GOALS['drop']:.0f}")
    said += [f"{way.name}: {way.count.mixed + way.count.lost + way.count.twice:,} records that no cut explains, lost or there twice"
             for way in found.ways[1:] if way.guaranteed and way.count.mixed + way.count.lost + way.count.twice]
    return said


def draw(file: Path, found: Found, heard: Heard) -> None:
    """The 99th percentile of each quarter of a second with the swaps in it, and how long each took."""
    figure = report.blank(2)
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
    report.save(figure, file)


if __name__ == "__main__":
    report.run(main)
