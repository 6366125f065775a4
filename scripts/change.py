"""From the plan in force to another: prepare every shard, write the cut, wait for the answers. `swap` and `rollback` are this."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import Any, Literal

import click
import msgspec

from swapstream.models.errors import ClusterError, Conflict, Rejected
from swapstream.operators.cut import Cut
from swapstream.operators.plan import Plan
from swapstream.scripts.acknowledge import Ledger, Quiet, Row, activations, one_each, prepares
from swapstream.scripts.console import json_option, say
from swapstream.scripts.controller import Controller, Swapped
from swapstream.scripts.environment import Environment
from swapstream.scripts.lag import lags
from swapstream.scripts.outcome import Outcome
from swapstream.scripts.publish import Author, Part
from swapstream.scripts.quality import require
from swapstream.scripts.submitted import group_of, runs

LOOK_AGAIN = 5.0
"""Seconds between looks at the backlog while shards don't answer."""


class Order(msgspec.Struct, frozen=True):
    """What is to be done to which deployment. `event` is the controller's word for it on the ledger.

    `at`: "cut" in log order, by tokens; "update" as well, with all that is new inside the tokens; "arrival" as soon as each shard
    hears of it. `based_on`: the epoch that must be in force still, None for any.
    """

    environment: Environment
    namespace: str
    deployment: str
    author: Author
    prepare: bool = True
    wait: bool = True
    timeout: float = 60.0
    event: str = "accepted"
    at: Literal["cut", "update", "arrival"] = "cut"
    based_on: int | None = None

    @property
    def whose(self) -> str:
        return f"{self.namespace}/{self.deployment}"


def change_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every command takes that changes a plan."""
    for option in (
        json_option,
        click.option("--timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds to wait for shards."),
        click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the change has taken effect in every shard."),
        click.option("--why", default="", help="The reason, for the ledger."),
        click.option("--namespace", help="Of which namespace.  [default: the environment's]"),
    ):
        command = option(command)
    return command


def measure(order: Order, plan: Plan, parts: list[Part]) -> None:
    """Hold the plan against what it requires of its champions, if it does. Raises Rejected, ClusterError."""
    for finding in require(order.environment, order.namespace, order.deployment, plan, parts):
        say(f"plan {plan.name!r}, {finding}")


def carry_out(order: Order, plan: Plan, parts: list[Part], as_json: bool) -> None:
    """Do it, and show what happened, also where it fails on the way. Running it again finishes it, or changes nothing.

    Raises Rejected when a shard refuses the plan (and nothing was changed) or its cut, Conflict, ClusterError.
    """
    outcome = Outcome(order.whose, plan.name, plan.digest)
    try:
        Change(order, plan, outcome).run(parts)
    finally:
        outcome.show(as_json)
    if order.wait:
        say(outcome.summary())


class Change:
    """One change under way."""

    def __init__(self, order: Order, plan: Plan, outcome: Outcome) -> None:
        self.order, self.plan, self.outcome = order, plan, outcome
        self._looked = 0.0

    def run(self, parts: list[Part]) -> None:
        order = self.order
        running = runs(order.environment, order.namespace, order.deployment)
        if not running:
            where = order.environment.flink.url
            say(f"{order.whose} does not run on {where}: nothing is prepared, and what is written takes effect when it runs")
        with closing(Ledger(order.environment)) as ledger:
            with Controller(order.environment, order.namespace, order.deployment, order.author) as controller:
                self._check(controller)
                stands = controller.standing(self.plan.digest)
                if stands is None and order.at != "update":
                    controller.publish(parts)
                    if running and order.prepare and order.at == "cut":
                        self._prepare(controller, ledger)
                swapped = Swapped(stands, False) if stands else self._write(controller, parts)
                partitions = controller.partitions
            self.outcome.cut(swapped, partitions)
            if order.wait and swapped.written:
                self._wait(ledger, swapped.cut, partitions)
        if order.wait and not swapped.written:
            with closing(Ledger(order.environment, "earliest")) as ledger:
                self._wait(ledger, swapped.cut, partitions)

    def _check(self, controller: Controller) -> None:
        now = controller.in_force.epoch if controller.in_force else 0
        if self.order.based_on is not None and now != self.order.based_on:
            raise Conflict(
                f"{self.order.whose} was at epoch {self.order.based_on} and is at {now} by now: somebody else changed it; run it again"
            )

    def _write(self, controller: Controller, parts: list[Part]) -> Swapped:
        if self.order.at == "update":
            return controller.update(self.plan, [part.body for part in parts if part.kind == "model"])
        write = controller.swap if self.order.at == "cut" else controller.arrive
        return write(self.plan.digest, self.order.event)

    # -- before

    def _prepare(self, controller: Controller, ledger: Iterable[Row | None]) -> None:
        """Raises Rejected when a shard refuses, ClusterError when one does not answer; nothing has changed then."""
        cut = controller.prepare(self.plan.digest).cut
        self.outcome.asked(cut)
        late = (
            f"of {self.order.whose} have not been prepared for plan {self.plan.name!r} in {self.order.timeout:g} s: nothing was changed; "
            "run it again, with a longer --timeout, or with --no-prepare"
        )
        try:
            for answer in one_each(ledger, set(cut.offsets), lambda row: prepares(row, cut), self.order.timeout, late, self._quiet(cut)):
                self.outcome.prepared(answer)
                self._tell(answer, f" in {answer['took_ms']:g} ms" if answer.get("took_ms") is not None else "")
        except ClusterError:
            if not self.outcome.refusals():
                raise
        refused = self.outcome.refusals()
        if refused:
            shards = [row["partition"] for row in refused]
            raise Rejected(f"shards {shards} refused plan {self.plan.name!r}, nothing was changed: {refused[0]['reason']}")

    # -- after

    def _wait(self, ledger: Iterable[Row | None], cut: Cut, partitions: list[int]) -> None:
        quiet = self._quiet(cut) if cut.offsets else None
        try:
            for answer in activations(ledger, cut, set(partitions), self.order.timeout, quiet):
                row = self.outcome.acknowledged(answer)
                self._tell(answer, "" if row["seconds"] is None else f" after {row['seconds']:.3f} s")
        except ClusterError as error:
            if not cut.arrival:  # which an idle partition can't answer
                raise
            say(str(error))
        rejected = self.outcome.rejections()
        if rejected:
            shards = [row["partition"] for row in rejected]
            raise Rejected(f"shards {shards} {rejected[0]['event']} epoch {cut.epoch}: {rejected[0]['reason'] or 'see the ledger'}")

    def _tell(self, answer: Row, more: str) -> None:
        reason = f": {answer['reason']}" if answer.get("reason") else ""
        say(f"{answer['topic']}-{answer['partition']}: {answer['event']} at offset {answer['offset']}{more}{reason}")

    def _quiet(self, cut: Cut) -> Quiet:
        """While shards don't answer: how much lies before their tokens."""

        def look(waiting: set[int]) -> None:
            if time.monotonic() - self._looked < LOOK_AGAIN:
                return
            self._looked = time.monotonic()
            order = self.order
            upto: dict[int, Any] = {partition: cut.offsets[partition] for partition in waiting}
            with suppress(ClusterError):  # a user who may not ask for it can wait all the same
                found = lags(order.environment, group_of(order.environment, order.namespace, order.deployment), upto)
                self.outcome.lagging(found, waiting)
                for partition, lag in sorted(found.items()):
                    if lag.records:
                        say(f"{cut.topic}-{partition}: {lag} before the token, as of the last checkpoint")

        return look
