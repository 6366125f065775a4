"""Shards that answer on the ledger to what a controller commits, as data: no state, no models."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from swapstream.operators.cut import Cut
from swapstream.operators.statement import decode_definition
from swapstream.operators.token import PREPARE, Token
from swapstream.scripts import kafka
from swapstream.scripts.environment import Environment
from tests.support.topics import Topics


class Answering:
    """Answers for each partition of telemetry. `refuse` maps a partition to why it can't run a plan; `silent` ones say nothing."""

    def __init__(self, topics: Topics, environment: Environment, refuse: Mapping[int, str] | None = None,
                 silent: tuple[int, ...] = ()) -> None:  # fmt: skip
        self.topics, self.ledger, self.parameters = topics, environment.topics.ledger.name, environment.topics.parameters.name
        self.refuse, self.silent = refuse or {}, silent
        self.tokens: list[Token] = []
        topics.committed = self

    def __call__(self, records: list[tuple[str, kafka.Record]]) -> None:
        for topic, record in records:
            if topic == self.parameters:
                self._define(record.value or b"")
            elif topic != self.ledger:
                self._token(record)

    def _token(self, record: kafka.Record) -> None:
        token = Token.decode(record.value or b"")
        self.tokens.append(token)
        if token.kind == PREPARE and record.partition in self.refuse:
            self._say("refused", token, record.partition, record.offset, reason=self.refuse[record.partition])
        else:
            self._say("prepared" if token.kind == PREPARE else "activated", token, record.partition, record.offset)

    def _define(self, value: bytes) -> None:
        statement = decode_definition(value)
        cut = Cut.decode(statement.body) if statement.kind == "cut" else None
        if cut is not None and cut.arrival:
            for partition in range(self.topics.partitions):
                self._say("activated", cut, partition, 1_000 + partition, how="arrival")

    def _say(self, event: str, about: Token | Cut, partition: int, offset: int, **more: str) -> None:
        if partition in self.silent:
            return
        row = {"id": "", "namespace": about.namespace, "deployment": about.deployment, "event": event, "writer": "", "time": 1,
               "topic": about.topic, "partition": partition, "offset": offset, "epoch": about.epoch, "plan": about.plan,
               "took_ms": 2.5 + partition, **more}  # fmt: skip
        self.topics.send(self.ledger, b"", msgspec.json.encode(row))
