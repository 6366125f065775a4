"""Training that keeps going: when, what becomes of the models, and that it never touches a champion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.models import Store, train
from swapstream.models.artifact import Artifact
from swapstream.models.errors import ClusterError, InvalidPlan, InvalidSettings, Rejected, UnknownName
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.scores import RoleColumns, decode_scores
from swapstream.scripts import again, change
from swapstream.scripts.again import LOOK, Round, challenge, drifted, keep_going, watched_model
from swapstream.scripts.derive import with_challenger
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.known import known_of
from swapstream.scripts.main import cli
from swapstream.scripts.train import train_command
from swapstream.scripts.trusting import trust_first
from tests.support.past import Past
from tests.support.shard_answers import Answering
from tests.support.shards import FIELDS, SCHEMAS, deployable, model, route
from tests.support.topics import Topics

RNG = np.random.default_rng(2)
LIMIT = 0.25


def made(version: int, rows: Any = None) -> Artifact:
    return train("zscore", RNG.normal(size=(500, 2)) if rows is None else rows, FIELDS, name="m", version=version)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topics: Topics) -> Environment:
    """Deployment d under a plan with champion a:1, whose job is taken to run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(change, "runs", lambda *_: True)
    monkeypatch.setattr(change, "lags", lambda *_: {})
    monkeypatch.setattr(again, "starts", lambda *_: {0: 0})
    Path("env.yaml").write_text(f"directory: {tmp_path}/run\n")
    Path("pumps.yaml").write_text("{name: pumps, fields: [temperature, pressure]}")
    Path("first.yaml").write_text("{name: d, schema: pumps.yaml, champion: 'a:1'}")
    environment = load_environment("env.yaml")
    Store(environment.store).put(model("a:1", FIELDS))
    trust_first(environment)
    return environment


@pytest.fixture
def running(environment: Environment, topics: Topics) -> Round:
    Answering(topics, environment)
    done = CliRunner().invoke(cli, ["--environment", "env.yaml", "swap", "--plan", "first.yaml"], standalone_mode=False)
    assert done.exception is None, done.output
    return Round(environment, "m", "d", None, None, LIMIT)


def plan_in_force(given: Round) -> Plan:
    known = known_of(given.environment, "prod", "d")
    return known.plan(known.in_force.plan)


def names(given: Round) -> list[tuple[str, str]]:
    return [(role, pin.name) for role, pin in plan_in_force(given).routes[0].roles()]


# -- challengers


def test_each_takes_the_place_of_the_one_before(running: Round) -> None:
    for version in (1, 2):
        challenge(running, made(version))
        assert names(running) == [("champion", "a:1"), ("challenger", f"m:{version}")]


def test_a_champion_is_never_replaced(running: Round) -> None:
    with pytest.raises(InvalidPlan, match="challenger a:1: the route has it as champion"):
        challenge(running, model("a:1", FIELDS))
    assert names(running) == [("champion", "a:1")]


def test_the_plan_that_is_made() -> None:
    plan = deployable("p", routes=(route("pump-1*", champion="b:1"),), champion="a:1", challengers=("m:1", "b:7")).plan
    schemas, two = [SCHEMAS["pumps"]], made(2)
    found = with_challenger(plan, two, schemas)
    assert [[pin.name for _, pin in one.roles()] for one in found.routes] == [["b:1"], ["a:1", "b:7", "m:2"]]
    assert [one.champion for one in found.routes] == [one.champion for one in plan.routes]
    found = with_challenger(plan, two, schemas, "pump-1*")
    assert [pin.name for _, pin in found.routes[0].roles()] == ["b:1", "m:2"]
    with pytest.raises(UnknownName, match="name the --route"):
        with_challenger(deployable("p", routes=(route("pump-1*", champion="b:1"),), champion="a:1").plan, two, schemas)
    with pytest.raises(InvalidPlan, match="has no champion to challenge: make it the first one with `swap`"):
        with_challenger(deployable("p").plan, two, schemas)
    with pytest.raises(Rejected, match="m:2: features: "):
        with_challenger(deployable("p", extractor=("differences",), champion="a:1").plan, two, schemas)


# -- when


class Clock:
    """Time passes in sleeps only; after `end` seconds somebody interrupts."""

    def __init__(self, end: float) -> None:
        self.now, self.end = 0.0, end

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.end:
            raise KeyboardInterrupt


def times(monkeypatch: pytest.MonkeyPatch, every: int | None, drift: set[float], end: float, failing: dict[int, Exception] | None = None
          ) -> list[float]:  # fmt: skip
    """When models were made and pushed; `drift`: the moments at which scores have drifted."""
    clock, found, pushed = Clock(end), [], []
    given = Round(Environment(), "m", "d", None, None, LIMIT)
    monkeypatch.setattr(again, "drifted", lambda *_: clock.now in drift)
    monkeypatch.setattr(again, "challenge", lambda _, artifact: pushed.append(artifact))

    def make() -> Any:
        found.append(clock.now)
        if failing and len(found) - 1 in failing:
            raise failing[len(found) - 1]
        return len(found)

    keep_going(given, make, every, bool(drift), clock.sleep, clock)
    assert len(pushed) == len(found) - len(failing or {})
    return found


def test_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times(monkeypatch, 6 * 3_600_000, set(), 20 * 3_600) == [0, 6 * 3_600, 12 * 3_600, 18 * 3_600]


def test_on_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times(monkeypatch, None, {2 * LOOK, 5 * LOOK}, 9 * LOOK) == [2 * LOOK, 5 * LOOK]


def test_both(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times(monkeypatch, int(4_000 * LOOK), {LOOK}, 6 * LOOK) == [0, LOOK, 5 * LOOK]


def test_what_fails_later_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert times(monkeypatch, 10_000, set(), 35, {1: ClusterError("no broker at x")}) == [0, 10, 20, 30]
    assert "not this time: no broker at x" in capsys.readouterr().err


def test_what_fails_at_once_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError):
        times(monkeypatch, 10_000, set(), 35, {0: ClusterError("no broker at x")})


# -- drift


def scoring(given: Round, topics: Topics, pin: Pin, scores: Any, role: str = "champion", warming: int = 0) -> None:
    """Messages of `scores` in which a model says this, 100 readings each."""
    past = Past(deployable("p", champion="a:1"))
    past.swap(past.plans[0])
    past.readings(20)
    past.live()
    like = next(decode_scores(one.value) for one in past.emissions if one.role == "scores")
    where = msgspec.structs.replace(like.provenance, namespace="prod", deployment="d")
    for part in np.array_split(np.asarray(scores, float), max(1, len(scores) // 100)):
        n = len(part)
        said = RoleColumns(role, pin.name, pin.digest, 3.0, b"", part.astype("<f8").tobytes())
        cold = np.arange(n) < warming
        frame = msgspec.structs.replace(
            like, provenance=where, offsets=np.arange(n, dtype="<i8").tobytes(), times=bytes(8 * n), device=bytes(4 * n),
            warming=cold.tobytes(), anomalous=bytes(n), roles=[said], index=b"", devices=["d"])  # fmt: skip
        topics.send(given.environment.topics.scores.name, None, frame.encode())


def test_scores_that_lie_as_in_training_have_not_drifted(running: Round, topics: Topics) -> None:
    one = made(1)
    challenge(running, one)
    pin, own = Pin(one.ref, one.digest), np.abs(RNG.normal(size=(3_000, 2))).max(axis=1)
    scoring(running, topics, pin, own, "challenger")
    assert not drifted(running, True)


@pytest.mark.parametrize("role", ["challenger", "canary"])
def test_scores_that_do_not_have(running: Round, topics: Topics, role: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = made(1)
    challenge(running, one)
    scoring(running, topics, Pin(one.ref, one.digest), 2 + np.abs(RNG.normal(size=3_000)), role)
    assert drifted(running)
    assert "population stability of m:1 is" in capsys.readouterr().err


def test_too_few_say_nothing(running: Round, topics: Topics) -> None:
    """Warming readings and failures don't count."""
    one = made(1)
    challenge(running, one)
    assert not drifted(running)
    scoring(running, topics, Pin(one.ref, one.digest), np.full(600, 9.0), warming=50)
    scoring(running, topics, Pin(one.ref, one.digest), np.full(600, np.nan))
    scoring(running, topics, Pin("m:1", "0" * 64), np.full(600, 9.0))
    assert not drifted(running)


def test_a_model_that_does_not_know_how_its_scores_lay(running: Round, topics: Topics) -> None:
    """a:1 was fitted to 40 rows."""
    with pytest.raises(InvalidSettings, match="model a:1 does not say how its training scores lay"):
        drifted(running)


def test_the_newest_version_is_watched_else_a_champion() -> None:
    plan = deployable("p", champion="a:1", challengers=("m:2", "m:10", "b:99")).plan
    assert watched_model(plan, "m").name == "m:10"
    assert watched_model(plan, "x").name == "a:1"
    with pytest.raises(InvalidSettings, match="has no champion: there are no scores that could drift"):
        watched_model(deployable("p").plan, "m")


# -- the command


def test_the_command_trains_from_the_topic_and_pushes(running: Round, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    from swapstream.scripts import train as command
    from tests.unit.scripts.test_learning import FILE

    rows = command.learn

    def learned(environment: Any, data: Any, given: Any, schema: Any, again: Any) -> Any:
        assert (data.topic, data.last) == ("telemetry", 86_400_000)
        table = RNG.normal(size=(300, 2))
        Path("rows.csv").write_text("temperature,pressure\n" + "\n".join(f"{a},{b}" for a, b in table.tolist()))
        file = msgspec.structs.replace(data, path=FILE[0], topic=None, last=None)
        return rows(environment, file, command.input_of(None, "pumps.yaml", []), None, again)

    def interrupt(seconds: float) -> None:
        assert seconds > 21_000
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "learn", learned)
    monkeypatch.setattr(again.keep_going, "__defaults__", (interrupt, again.time.monotonic))
    done = CliRunner().invoke(train_command, ["zscore", "--topic", "telemetry", "--last", "24h", "--every", "6h", "--deployment", "d",
                                              "--name", "m", "--json"], obj="env.yaml", catch_exceptions=False)  # fmt: skip
    assert done.exit_code == 0, done.output
    (row,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert row["model"] == "m:1"
    assert row["metrics"]["rows"] == 60
    assert names(running) == [("champion", "a:1"), ("challenger", "m:1")]

