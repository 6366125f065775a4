"""Models that nobody may serve, through the shard: refused in preparing, and harmless where they are swapped to all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.operators.outputs import Emission
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.scores import decode_scores
from tests.support.bad_artifacts import REF, BadArtifact, bad_artifact, names
from tests.support.sent import ledger
from tests.support.shards import Parameters, Worker, deployable, frame, reading, token

ONE = deployable("one", champion="a:1")
R = reading()
SLOW = "a model slower than its budget"


def plan_with(bad: BadArtifact) -> Plan:
    """Plan ONE, with the bad model as its champion."""
    route = msgspec.structs.replace(ONE.plan.routes[0], champion=Pin(REF, bad.digest))
    return msgspec.structs.replace(ONE.plan, name="bad", routes=(route,))


def published(bad: BadArtifact) -> tuple[Worker, Plan]:
    """A worker under ONE that has read the bad model and its plan, which nobody checked before."""
    parameters, plan = Parameters(), plan_with(bad)
    parameters.publish(ONE)
    parameters.define("model", REF, bad.data)
    parameters.define("plan", plan.name, plan.encode())
    worker = Worker(parameters, ONE.digest)
    worker.read()
    return worker, plan


def rows(emissions: list[Emission]) -> list[dict[str, Any]]:
    return [row for emission in emissions if emission.role == "scores" for row in decode_scores(emission.value).rows()]


@pytest.mark.parametrize("name", names())
def test_a_bad_model_is_refused_in_preparing_and_harms_only_its_own_rows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = bad_artifact(name)
    worker, plan = published(bad)
    end = worker.parameters.end
    out = worker.shard.on_frame(frame([R, token(1, plan.digest, end, kind="prepare"), R]))
    answers = ledger([*out, *worker.shard.on_timer()])
    assert [(row["event"], row["epoch"], row["plan"]) for row in answers] == [("refused", 1, plan.digest)]
    assert f"bad:1: {bad.check}: " in answers[0]["reason"]
    assert bad.said in answers[0]["reason"]
    assert [(row["offset"], row["model"], row["error"]) for row in rows(out)] == [(0, "a:1", None), (2, "a:1", None)]

    # All the same, as by --no-prepare: the log decides (C3), so the plan takes effect, and its rows say why they have no score.
    out = worker.shard.on_frame(frame([token(1, plan.digest, end), R, token(2, ONE.digest, end), R], first=3))
    assert [row["event"] for row in ledger(out)] == ["activated", "activated"]
    served, after = rows(out)
    assert (served["offset"], served["model"], served["epoch"], served["anomalous"]) == (4, REF, 1, False)
    assert (after["offset"], after["model"], after["error"]) == (6, "a:1", None)
    if name == SLOW:  # what answers a record does not depend on how busy a worker is
        assert (served["score"], served["error"]) == (2.0, None)
    else:
        assert served["score"] is None
        assert served["error"].startswith(f"bad:1: {bad.check}: ")
    assert list(tmp_path.iterdir()) == [], "something was run"


@pytest.mark.parametrize("name", ["a pickle", "external data above", "golden vectors that differ"])
def test_a_shard_under_a_bad_model_is_restored(name: str) -> None:
    worker, plan = published(bad_artifact(name))
    worker.shard.on_frame(frame([token(1, plan.digest, worker.parameters.end), R]))
    again = Worker(worker.parameters, ONE.digest)
    again.read()
    again.shard.restore(worker.shard.snapshot())
    (row,) = rows(again.shard.on_frame(frame([R], first=2)))
    assert (row["model"], row["epoch"]) == (REF, 1)
    assert row["error"].startswith("bad:1: ")


def test_a_challenger_that_is_bad_does_not_touch_the_champion() -> None:
    bad = bad_artifact("weights that are nan")
    worker, _ = published(bad)
    route = msgspec.structs.replace(ONE.plan.routes[0], challengers=(Pin(REF, bad.digest),))
    plan = msgspec.structs.replace(ONE.plan, name="beside", routes=(route,))
    worker.parameters.define("plan", plan.name, plan.encode())
    worker.read()
    out = rows(worker.shard.on_frame(frame([token(1, plan.digest, worker.parameters.end), R])))
    assert [(row["role"], row["model"], row["score"] is None) for row in out] == [
        ("champion", "a:1", False),
        ("challenger", REF, True),
    ]
