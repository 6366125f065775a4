"""`python -m benchmarks.pushes`: 10,000 definitions onto `parameters` in a minute, beside telemetry that must not notice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks import measure, report
from benchmarks.arena import Arena
from benchmarks.beside import SPAWNED, Beside
from benchmarks.candidates import submit
from benchmarks.changing import swap
from benchmarks.cluster import STAMPED, cluster, directory
from benchmarks.feeder import Feeder, Timed
from benchmarks.listener import Heard, Listener
from benchmarks.measure import percentiles
from benchmarks.memory import resident
from benchmarks.workload import PARTITIONS, producer
from swapstream.models.artifact import Artifact
from swapstream.models.errors import ClusterError
from swapstream.models.store import Store
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.statement import Statement, digest_of
from swapstream.scripts.acknowledge import Ledger
from swapstream.scripts.console import say, show
from swapstream.scripts.controller import Controller
from swapstream.scripts.environment import Environment
from swapstream.scripts.figure import blank, save
from swapstream.scripts.flink_cli import FlinkCommandLine
from swapstream.scripts.keyring import own_signer
from swapstream.scripts.publish import author_of, read_definitions

NAME, DEVICES = "pushes", 1000
PATIENCE_S = 120.0
FACTOR = 1.5
"""So much longer p99 may be while definitions come."""
TOPICS = {"telemetry": {"name": "telemetry", "partitions": PARTITIONS},
          "scores": {"name": "scores", "partitions": PARTITIONS, "config": STAMPED},
          "ledger": {"name": "ledger", "partitions": 1, "config": STAMPED}}


class Found(msgspec.Struct, frozen=True):
    """Latencies in ms, each with its percentiles; resident bytes by worker; how long the swap behind all that took, in ms."""

    pushed: int
    seconds: float
    before: dict[str, float]
    meanwhile: dict[str, float]
    afterwards: dict[str, float]
    resident_before: dict[str, int]
    resident_after: dict[str, int]
    checkpoint_before: int
    checkpoint_after: int
    prepare_ms: float
    swap_ms: float


class Pusher(Beside):
    """Pushes `count` definitions, models and plans that name them in turn, evenly over `seconds`; made and signed before it begins,
    since that is other machines' work."""

    def __init__(self, environment: Environment, plan: Plan, count: int, seconds: float) -> None:
        self._seconds = seconds
        self._ready, self._begin, self._done = SPAWNED.Event(), SPAWNED.Event(), SPAWNED.Event()
        super().__init__(push, environment, plan.encode(), count, seconds, self._ready, self._begin, self._done)

    def push(self) -> float:
        """Push all; returns in how many seconds. Raises ClusterError."""
        began = time.monotonic()
        self._begin.set()
        if not self._done.wait(3 * self._seconds):
            raise ClusterError(f"definitions could not be pushed: exit code {self.process.exitcode}")
        return time.monotonic() - began

    def made(self) -> None:
        """Return when it could begin. Raises ClusterError."""
        if not self._ready.wait(PATIENCE_S):
            raise ClusterError(f"definitions could not be made: exit code {self.process.exitcode}")


@click.command()
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(2), help="How many definitions.")
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1), help="In how many seconds.")
@click.option("--rate", default=5_000, show_default=True, type=click.IntRange(100), help="Readings a second.")
@click.option("--warm-up", default=60, show_default=True, type=click.IntRange(0), help="Seconds that don't count.")
@click.option("--beside", default=45, show_default=True, type=click.IntRange(1),
              help="Seconds that count before the first push, and after the last.")
@report.options
def main(json_file: Path | None, plot: Path | None, keep: bool, **size: Any) -> None:
    """Measure; exits with 1 when p99 latency is half as long again while definitions come."""
    with directory(keep) as path, cluster(path, topics=TOPICS, job={"delivery": "at_least_once"}) as environment:
        found, heard, began = measured(environment, path, **size)
    rows = [{"definitions": when, **{name: f"{value:.0f}" for name, value in row.items()}}
            for when, row in (("none", found.before), (f"{found.pushed:,} in {found.seconds:.0f} s", found.meanwhile),
                              ("no more", found.afterwards))]
    show(rows, list(rows[0]), False, f"ms from produced to consumed at {size['rate']:,} readings/s")
    show([{"": worker, "MB before": f"{bytes_ / 1e6:.0f}", "MB after": f"{found.resident_after.get(worker, 0) / 1e6:.0f}"}
          for worker, bytes_ in found.resident_before.items()], ["", "MB before", "MB after"], False, "Resident memory")
    say(f"a checkpoint: {found.checkpoint_before / 1e6:.1f} MB before, {found.checkpoint_after / 1e6:.1f} MB after; "
        f"a swap to the last plan: prepared in {found.prepare_ms:.0f} ms, activated in {found.swap_ms:.0f} ms")
    report.write_json(json_file, size=size, found=found, factor=FACTOR)
    if plot:
        draw(plot, heard, began, size["seconds"])
    worse = found.meanwhile["p99"] / found.before["p99"]
    report.verdict([f"p99 is {worse:.2f} x as long while definitions come, not under {FACTOR} x"] if worse >= FACTOR else [])


def measured(
    environment: Environment, path: Path, count: int, seconds: int, rate: int, warm_up: int, beside: int
) -> tuple[Found, Heard, float]:
    """One job: readings alone, and readings with definitions. Also when these began, in ms since the epoch."""
    arena = Arena.filled(environment, path, Timed(DEVICES), 0)
    start = measure.ends(environment, environment.topics.scores.name)
    job = submit(arena, NAME)
    total = rate * (warm_up + 2 * beside + 2 * seconds + 60)
    with Listener(environment, start, path / "heard.npz") as listener, Feeder(environment, DEVICES, total, rate) as feeder:
        plan = plan_in_force(environment)
        with Pusher(environment, plan, count, seconds) as pusher:
            time.sleep(warm_up)
            pusher.made()
            first = time.time() * 1000
            time.sleep(beside)
            resident_before, checkpoint_before, began = resident(environment), checkpoint_bytes(environment, job), time.time() * 1000
            pusher.push()
        ended = time.time() * 1000
        time.sleep(beside)
        rested = time.time() * 1000
        prepare_ms, swap_ms = swap_to_last(environment, plan, count)
        time.sleep(3.0)
        resident_after, checkpoint_after = resident(environment), checkpoint_bytes(environment, job)
        feeder.allow(0)
        heard = listener.heard()
    before, meanwhile, afterwards = (percentiles(heard.waited[(heard.due >= since) & (heard.due < until)])
                                     for since, until in ((first, began), (began, ended), (ended, rested)))
    found = Found(count, (ended - began) / 1000, before, meanwhile, afterwards, resident_before, resident_after,
                  checkpoint_before, checkpoint_after, prepare_ms, swap_ms)
    return found, heard, began


def plan_in_force(environment: Environment) -> Plan:
    """The one that was submitted: the only one there is."""
    definitions = read_definitions(environment)
    [said] = definitions.names(environment.job.namespace, "plan")
    return Plan.decode(said.body)


def checkpoint_bytes(environment: Environment, job: str) -> int:
    """Of the newest."""
    return int(FlinkCommandLine(environment).rest.checkpoints(job)["latest"]["completed"]["state_size"])


def swap_to_last(environment: Environment, plan: Plan, count: int) -> tuple[float, float]:
    """How long every shard took to prepare the last of the plans, and to activate it."""
    last = plan_of(plan, numbered(champion(environment, plan), count // 2 - 1))
    author = author_of(environment, "benchmark")
    with closing(Ledger(environment)) as ledger, Controller(environment, environment.job.namespace, NAME, author) as controller:
        done = swap(controller, ledger, last, True)
    return done.prepared - done.asked, done.took_ms


def push(environment: Environment, encoded: bytes, count: int, seconds: float, ready: Any, begin: Any, done: Any) -> None:
    """What the process does: definitions that are signed and in order, each behind the one before."""
    signer, topic, namespace = own_signer(environment), environment.topics.parameters.name, environment.job.namespace
    said = [Statement(kind, namespace, name, digest_of(body), "benchmark", 1, "", body)
            for kind, name, body in definitions(environment, Plan.decode(encoded), count)]
    records = [(one.key.encode(), one.encode(signer)) for one in said]
    client = producer(environment, linger_ms=0)
    ready.set()
    begin.wait()
    began = time.monotonic()
    for number, (key, value) in enumerate(records):
        time.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
        client.produce(topic, value, key)
        client.poll(0)
    client.flush()
    done.set()


def definitions(environment: Environment, plan: Plan, count: int) -> Iterator[tuple[Any, str, bytes]]:
    """A model, the plan with it as champion, the next model, …"""
    first = champion(environment, plan)
    for number in range(count // 2):
        model = numbered(first, number)
        yield "model", model.ref, model.encode()
        made = plan_of(plan, model)
        yield "plan", made.name, made.encode()


def champion(environment: Environment, plan: Plan) -> Artifact:
    pin = plan.routes[0].champion
    assert pin is not None
    return Store(environment.store).get(pin.name)


def numbered(model: Artifact, number: int) -> Artifact:
    """The same under another version."""
    return msgspec.structs.replace(model, manifest=msgspec.structs.replace(model.manifest, version=1000 + number))


def plan_of(plan: Plan, model: Artifact) -> Plan:
    route = msgspec.structs.replace(plan.routes[0], champion=Pin(model.ref, model.digest))
    return msgspec.structs.replace(plan, routes=(route,))


def draw(file: Path, heard: Heard, began: float, seconds: float) -> None:
    """Percentiles of each second; when definitions came."""
    figure = blank(1)
    panel = figure.subplots(1, 1)
    second = ((heard.due - heard.due.min()) / 1000).astype(int)
    start = (began - heard.due.min()) / 1000
    panel.axvspan(start, start + seconds, alpha=0.2, label="definitions come")
    report.by_second(panel, second, heard.waited)
    save(figure, file)


if __name__ == "__main__":
    report.run(main)
