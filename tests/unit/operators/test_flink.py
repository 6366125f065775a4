"""The adapter to PyFlink, against a stand-in for its contexts: what goes into which state, side output and timer."""

from __future__ import annotations

import platform
from typing import Any

import msgspec
import numpy as np
import pytest
from pyflink.common import Row
from pyflink.datastream import OutputTag

from swapstream.operators.assignment import Assignment
from swapstream.operators.cut import Cut
from swapstream.operators.flink import POLL_MS, ShardFunction
from swapstream.operators.update import Update, UpdateCut
from tests.support.shards import DEPLOYMENT, NAMESPACE, TOPIC, Parameters, deployable, reading, token

TOPICS = {"telemetry": TOPIC, "parameters": "parameters", "scores": "scores", "anomalies": "anomalies"}
ONE, TWO = deployable("one", champion="a:1"), deployable("two", champion="b:1")
LATER = 1_000


class State(dict[Any, Any]):
    """A value, list or map state; a value lies under the key None."""

    def value(self) -> Any:
        return super().get(None)

    def update(self, value: Any) -> None:  # type: ignore[override]
        self[None] = value

    def get(self, key: Any = None, default: Any = None) -> Any:
        return super().get(key, [] if key is None else default)

    def add(self, value: Any) -> None:
        self[None] = [*self.get(), value]

    def put(self, key: Any, value: Any) -> None:
        self[key] = value

    def remove(self, key: Any) -> None:
        del self[key]


class Metrics:
    def __init__(self) -> None:
        self.gauges: dict[str, Any] = {}

    def gauge(self, name: str, value: Any) -> None:
        self.gauges[name] = value


class Context:
    """The runtime's context, an element's, and its timer service: of one key."""

    def __init__(self, states: dict[str, State] | None = None) -> None:
        self.states = {} if states is None else states
        self.metrics, self.time, self.timers = Metrics(), 12_345, set[int]()

    def _state(self, descriptor: Any) -> State:
        return self.states.setdefault(descriptor.name, State())

    get_state = get_map_state = get_list_state = get_broadcast_state = _state

    def get_attempt_number(self) -> int:
        return 2

    def get_index_of_this_subtask(self) -> int:
        return 1

    def get_metrics_group(self) -> Metrics:
        return self.metrics

    def get_current_key(self) -> int:
        return 7

    def timer_service(self) -> Context:
        return self

    def current_processing_time(self) -> int:
        return self.time

    def register_processing_time_timer(self, at: int) -> None:
        self.timers.add(at)


class Flink:
    """A worker with one shard, of partition 0."""

    def __init__(self, parameters: Parameters, states: dict[str, State] | None = None) -> None:
        self.parameters, self.context = parameters, Context(states)
        assignment = Assignment(NAMESPACE, DEPLOYMENT, TOPIC, ONE.digest, 3)
        self.function = ShardFunction(assignment, TOPICS, {0: b"0"}, {7: 0}, job="a job")
        self.function.open(self.context)
        self.read = 0

    def define(self) -> list[dict[str, Any]]:
        """The worker reads `parameters` to its end; the rows of the ledger."""
        out = []
        for offset in range(self.read, self.parameters.end):
            out += list(self.function.process_broadcast_element((offset, self.parameters.records[offset]), self.context))
        self.read = self.parameters.end
        return rows(out)

    def frame(self, payloads: list[bytes], first: int) -> list[Any]:
        offsets = list(range(first, first + len(payloads)))
        value = (0, payloads, offsets, [LATER + offset for offset in offsets], [None] * len(payloads))
        return list(self.function.process_element(value, self.context))

    def timer(self) -> list[Any]:
        """All timers that are due 20 ms later."""
        self.context.time += POLL_MS
        due = {at for at in self.context.timers if at <= self.context.time}
        self.context.timers -= due
        return [one for at in sorted(due) for one in self.function.on_timer(at, self.context)]


def rows(out: list[Any]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one[1][1]) for one in out if isinstance(one, tuple) and isinstance(one[0], OutputTag)]


def scored(out: list[Any]) -> int:
    return sum(isinstance(one, Row) and one[0] == "scores" for one in out)


@pytest.fixture
def flink() -> Flink:
    """It has read plan "one"."""
    parameters = Parameters()
    parameters.publish(ONE)
    made = Flink(parameters)
    made.define()
    return made


def until_answered(flink: Flink, out: list[Any], events: set[str]) -> list[dict[str, Any]]:
    """Timers, until the rows of these events are there; plans are loaded on a thread."""
    for _ in range(100):
        if events <= {row["event"] for row in rows(out)}:
            break
        for plan in list(flink.function.pipelines._loaded.values()):
            plan.result()
        out += flink.timer()
    return rows(out)


def test_a_swap_is_held_loaded_and_told_with_job_and_attempt(flink: Flink) -> None:
    end = flink.parameters.publish(TWO)
    out = flink.frame([reading(), token(1, TWO.digest, end), reading()], 0)
    assert flink.context.timers
    flink.define()
    told = until_answered(flink, out, {"activated"})
    assert [(row["job"], row["attempt"]) for row in told] == [("a job", 2)] * len(told)
    activated = next(row for row in told if row["event"] == "activated")
    assert (activated["plan_name"], activated["offset"]) == ("two", 1)
    assert activated["took_ms"] > 0
    assert scored(out) >= 1


def test_frames_that_come_while_it_waits_register_no_timer_of_their_own(flink: Flink) -> None:
    flink.frame([token(1, TWO.digest, 99)], 0)
    for first in range(1, 6):
        flink.context.time += 1
        flink.frame([reading()], first)
    assert flink.context.timers == {12_360}
    flink.timer()
    assert flink.context.timers == {12_380}


def test_held_bytes_and_the_epoch_are_metrics(flink: Flink) -> None:
    gauges = flink.context.metrics.gauges
    assert (gauges["heldBytes"](), gauges["epoch"]()) == (0, 0)
    flink.frame([token(1, TWO.digest, 99), reading()], 0)
    assert gauges["heldBytes"]() > len(reading())


def test_plans_are_loaded_when_somebody_asks_for_them_and_not_because_they_are_defined(flink: Flink) -> None:
    """However many are pushed, and whatever their models would cost to look at."""
    flink.frame([reading()], 0)
    before = list(flink.function.pipelines._loaded)
    flink.parameters.publish(TWO)
    flink.define()
    flink.frame([reading()], 1)
    assert list(flink.function.pipelines._loaded) == before


def test_of_a_deployments_updates_broadcast_state_keeps_the_last_one(flink: Flink) -> None:
    for epoch in range(1, 6):
        cut = Cut(NAMESPACE, DEPLOYMENT, epoch, TWO.digest, TOPIC, {0: epoch})
        update = Update(TWO.plan.encode(), [artifact.encode() for artifact in TWO.models]).encode()
        flink.parameters.define("update", DEPLOYMENT, UpdateCut(cut.encode(), update).encode())
        flink.parameters.define("update", "another", UpdateCut(
            msgspec.structs.replace(cut, deployment="another").encode(), update).encode())
        flink.define()
    end = flink.parameters.end
    assert sorted(flink.context.states["definitions"]) == [0, 1, 2, end - 2, end - 1]
    again = Flink(flink.parameters, flink.context.states)
    again.frame([reading()], 0)
    assert again.function.definitions.position == end
    found = again.function.definitions.update_cut(NAMESPACE, DEPLOYMENT)
    assert found is not None
    assert found.epoch == 5


def test_a_restart_goes_on_with_what_was_stored(flink: Flink) -> None:
    flink.frame([token(1, TWO.digest, 99, kind="prepare"), reading()], 0)
    again = Flink(flink.parameters, flink.context.states)
    again.context.timers = flink.context.timers
    again.function._restore_definitions(again.context)
    shard = again.function._shard(0)
    assert (shard.head.last, shard.waiting) == (1, True)


def test_a_bad_definition_is_a_row_and_harms_nothing(flink: Flink) -> None:
    flink.parameters.write(b"nonsense")
    (row,) = flink.define()
    assert (row["event"], row["offset"], row["topic"]) == ("rejected", 3, "parameters")


def test_a_worker_says_once_what_it_computes_with(flink: Flink) -> None:
    [told] = rows(flink.frame([reading()], 0))
    assert told["event"] == "computing"
    assert (told["writer"], told["time"], told["job"], told["attempt"]) == (f"{NAMESPACE}/{DEPLOYMENT}/worker/1", LATER, "a job", 2)
    assert told["libraries"]["numpy"] == np.__version__
    assert told["processor"].startswith(platform.machine())
    assert rows(flink.frame([reading()], 1)) == []
