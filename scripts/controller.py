"""The controller of a deployment: what it writes, it writes in one Kafka transaction (C2).

Its transactional id is the deployment's, so of two controllers the older is fenced. A transaction times out after two seconds,
since while it is open no reader of telemetry gets past it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import msgspec
from kafka.errors import InvalidProducerEpochError, KafkaError, ProducerFencedError

from swapstream.models.errors import ClusterError, Conflict, UnknownName
from swapstream.operators.abort import Abort
from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.ledger import LedgerWriter
from swapstream.operators.lookup import missing
from swapstream.operators.plan import Plan
from swapstream.operators.token import HANDOVER, PREPARE, SWAP, UPDATE
from swapstream.operators.update import Update
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment
from swapstream.scripts.history import Step, history, in_force, next_epoch
from swapstream.scripts.publish import Author, Part, publish, read_definitions, require_trusted
from swapstream.scripts.submitted import submitted_plan
from swapstream.scripts.tokens import Definition, Speaker

TRANSACTION_TIMEOUT_MS = 2000
Said = tuple[list[Definition], list[bytes]]
"""Records of `parameters` and of the ledger."""


class Swapped(msgspec.Struct, frozen=True):
    """What was written: the cut, whether it was written now (or stood there before), for how many seconds the transaction was
    open, and when it was committed (ms since the epoch)."""

    cut: Cut
    written: bool
    seconds: float = 0.0
    committed: float = 0.0


def swap(environment: Environment, namespace: str, deployment: str, plan: str, author: Author) -> Swapped:
    """Begin a plan in every partition, without asking the shards before; a no-op where it is in force already.

    Raises UnknownName when something the plan needs is not defined, Conflict when another controller fenced this one, ClusterError.
    """
    with Controller(environment, namespace, deployment, author) as controller:
        stands = controller.standing(plan)
        return Swapped(stands, False) if stands else controller.swap(plan)


class Controller:
    """One deployment's only controller, from `with` until another one begins.

    `definitions` are all that there were when it began, and its own since. Whatever it writes raises Conflict when another
    controller fenced it, which has then written nothing, and ClusterError. To begin raises Untrusted where the namespace does not
    trust the author's key.
    """

    def __init__(self, environment: Environment, namespace: str, deployment: str, author: Author) -> None:
        self.environment, self.namespace, self.deployment, self.author = environment, namespace, deployment, author
        self.topic = environment.topics.telemetry.name
        self.definitions = Definitions()
        self.history: list[Step] = []
        self._ledger = LedgerWriter(f"{namespace}/{deployment}/controller/{secrets.token_hex(8)}")
        self._producer: Any = None

    def __enter__(self) -> Self:
        with self._refusals():
            # Making the producer fences every older controller and aborts what it left open. Only then may epochs be read.
            self._producer = kafka.transactional_producer(
                self.environment, f"swapstream.controller.{self.namespace}.{self.deployment}", TRANSACTION_TIMEOUT_MS
            )
        try:
            self._read(read_definitions(self.environment))
            require_trusted(self.definitions, self.namespace, self.author)
        except BaseException:
            self._producer.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    # -- what is so

    @property
    def in_force(self) -> Step | None:
        return in_force(self.history)

    def standing(self, plan: str) -> Cut | None:
        """The cut in force, if it is this plan's."""
        step = self.in_force
        return step.cut if step and step.plan == plan else None

    @property
    def partitions(self) -> list[int]:
        with self._refusals():
            return sorted(self._producer.partitions_for(self.topic))

    def next_cut(self, plan: str, **more: Any) -> Cut:
        """A cut of the next epoch."""
        return Cut(self.namespace, self.deployment, next_epoch(self.history), plan, self.topic, {}, **more)

    # -- what can be written

    def publish(self, parts: list[Part]) -> None:
        """Define what is not defined yet. Raises Conflict for names that are taken."""
        self._read(publish(self.environment, self.namespace, parts, self.author))

    def prepare(self, plan: str, generation: int = 0) -> Swapped:
        """Ask every shard whether it could run a plan, or only those of one of the deployment's jobs; the cut is that of the prepare
        tokens. Changes nothing.

        Raises UnknownName when something the plan needs is not defined.
        """
        self._require(plan)
        return self._write(PREPARE, self.next_cut(plan, successor=generation), lambda cut, say: ([], [self._row(say, "proposed", cut)]))

    def swap(self, plan: str, event: str = "accepted") -> Swapped:
        """Begin a plan in every partition: its tokens and the cut map. Raises UnknownName as `prepare` does."""
        self._require(plan)
        done = self._write(
            SWAP, self.next_cut(plan), lambda cut, say: ([say.cut(cut)], [self._row(say, event, cut)])
        )
        return self._took(done, "token")

    def handover(self, plan: str, predecessor: int, successor: int, epoch: int) -> Swapped:
        """Let the job of generation `predecessor` answer up to the tokens, and that of `successor`, which builds its state under this
        plan, behind them. A no-op where that is written already.

        Raises Conflict when `epoch`, for which the successor was started, is not the next one: something else has begun since. Raises
        UnknownName as `prepare` does.
        """
        if written := self.handed_over(successor):
            return Swapped(written, False)
        self._require(plan)
        cut = self.next_cut(plan, predecessor=predecessor, successor=successor)
        if cut.epoch != epoch:
            raise Conflict(f"{self.namespace}/{self.deployment} is in epoch {cut.epoch - 1} by now, and generation {successor} was started "
                           f"to go on from epoch {epoch - 1}")
        done = self._write(HANDOVER, cut, lambda cut, say: ([say.cut(cut)], [self._row(say, "accepted", cut)]))
        return self._took(done, "token")

    def handed_over(self, successor: int) -> Cut | None:
        """The cut of the handover to a generation, if it is written."""
        return next((step.cut for step in self.history if step.cut and step.cut.successor == successor), None)

    def arrive(self, plan: str, event: str = "accepted") -> Swapped:
        """Begin a plan in each shard as soon as it hears of it, ahead of its backlog. Raises UnknownName as `prepare` does."""
        self._require(plan)
        done = self._write(
            None,
            self.next_cut(plan, arrival=True),
            lambda cut, say: ([say.cut(cut)], [self._row(say, event, cut)]),
        )
        return self._took(done, "arrival")

    def update(self, plan: Plan, models: list[bytes]) -> Swapped:
        """Begin a plan that travels in the tokens, with the artifacts that it needs and `parameters` does not have.

        Raises InvalidDefinition when it is too large for that.
        """
        body = Update(plan.encode(), models).encode()
        done = self._write(UPDATE, self.next_cut(plan.digest), lambda cut, say: ([say.update(cut, body)], []), body)
        return self._took(done, "update")

    def abort(self, epochs: list[int], plan: str | None) -> Swapped:
        """Let shards that hold at these epochs go on without them; with `plan` all of them go on under that one then.

        Without it the cut is the one in force. Raises UnknownName as `prepare` does.
        """
        reason = f"abort of epoch {', '.join(map(str, epochs))}" + (f": {self.author.why}" if self.author.why else "")
        aborts = [Abort(self.namespace, self.deployment, epoch) for epoch in epochs]
        if plan is None:
            step = self.in_force
            assert step is not None
            assert step.cut is not None
            return self._write(None, step.cut, lambda cut, say: (list(map(say.abort, aborts)), [self._row(say, "aborted", cut, reason)]))
        self._require(plan)
        done = self._write(
            SWAP,
            self.next_cut(plan),
            lambda cut, say: ([*map(say.abort, aborts), say.cut(cut)], [self._row(say, "aborted", cut, reason)]),
        )
        return self._took(done, "token")

    # -- how

    def _read(self, definitions: Definitions) -> None:
        self.definitions = definitions
        first = submitted_plan(self.environment, self.namespace, self.deployment)
        self.history = history(definitions, self.namespace, self.deployment, first)

    def _took(self, done: Swapped, how: Any) -> Swapped:
        self.history.append(Step(done.cut.epoch, done.cut.plan, how, done.cut))
        return done

    def _require(self, plan: str) -> None:
        absent = missing(self.definitions, self.namespace, plan)
        if absent:
            raise UnknownName(absent)

    def _row(self, speaker: Speaker, event: str, cut: Cut, reason: str | None = None) -> bytes:
        body = self.definitions.body(self.namespace, "plan", cut.plan)
        return speaker.row(self._ledger, event, cut, Plan.decode(body).name if body else None, reason)

    def _write(
        self, kind: str | None, cut: Cut, said: Callable[[Cut, Speaker], Said], body: bytes = b""
    ) -> Swapped:
        """One transaction: a token of this kind in each partition, if any, and what is said of the cut with their offsets."""
        speaker = Speaker(self.author, int(time.time() * 1000))
        began = time.monotonic()
        with self._refusals(), self._transaction():
            if kind:
                cut = msgspec.structs.replace(cut, offsets=self._send_tokens(kind, cut, speaker, body))
            definitions, rows = said(cut, speaker)
            topics = self.environment.topics
            for key, value in definitions:
                self._producer.send(topics.parameters.name, key=key, value=value)
            for row in rows:
                self._producer.send(topics.ledger.name, key=b"controller", value=row)
            committed = time.time() * 1000
        return Swapped(cut, True, time.monotonic() - began, committed)

    def _send_tokens(self, kind: str, cut: Cut, speaker: Speaker, body: bytes) -> dict[int, int]:
        end = self.definitions.position
        sent = {
            partition: self._producer.send(
                cut.topic, partition=partition, value=speaker.token(kind, cut, partition, end, body)
            )
            for partition in self.partitions
        }
        self._producer.flush()
        return {partition: future.get().offset for partition, future in sent.items()}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._producer.begin_transaction()
        try:
            yield
            self._producer.commit_transaction()
        except BaseException as error:
            if not fenced(error):
                with suppress(KafkaError):  # the broker aborts it in two seconds then; the first error is what matters
                    self._producer.abort_transaction()
            raise

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        whose = f"{self.namespace}/{self.deployment}"
        try:
            yield
        except KafkaError as error:
            if fenced(error):
                raise Conflict(f"another controller has taken over {whose}: this one was fenced and wrote nothing") from error
            raise ClusterError(f"{whose}: {error or type(error).__name__}; run it again: what was written is found then") from error


def fenced(error: BaseException) -> bool:
    """Whether another producer with this one's id is why. kafka-python raises that itself, or an error that has it in its text."""
    return isinstance(error, ProducerFencedError | InvalidProducerEpochError) or (
        isinstance(error, KafkaError) and "ProducerFenced" in str(error)
    )
