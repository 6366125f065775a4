"""Which plans can be run, and loading them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from swapstream.models import Store
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.errors import InvalidDefinition, SwapstreamError, Unavailable, UnknownName
from swapstream.models.kinds import scorer
from swapstream.models.object_cache import ObjectCache
from swapstream.models.objects import Objects
from swapstream.operators.definitions import Definitions
from swapstream.operators.lookup import missing
from swapstream.operators.pipelines import KEPT, RETRY, Pipelines
from swapstream.operators.plan import Pin
from swapstream.operators.sessions import LEAST, Sessions
from swapstream.operators.statement import Statement, digest_of
from swapstream.operators.update import Update
from tests.support.shards import FIELDS, NAMESPACE, Deployable, Parameters, deployable, frame, model, reading, route

PLAN = deployable("p", champion="a:1", challengers=("b:1",))


def defined(*deployables: Deployable) -> Definitions:
    parameters = Parameters()
    parameters.publish(*deployables)
    return parameters.read(Definitions())


def test_a_plan_is_missing_until_the_last_of_its_parts_is_there() -> None:
    parameters = Parameters()
    said = []
    *parts, plan = PLAN.definitions()
    for kind, name, body in (plan, *parts):
        said.append(missing(parameters.read(Definitions()), NAMESPACE, PLAN.digest))
        parameters.define(kind, name, body)
    assert [text and text.split(" is not")[0].split("@")[0] for text in said] == [
        f"plan {PLAN.digest[:12]}…",
        "plan 'p': schema pumps",
        "plan 'p': model a:1",
        "plan 'p': model b:1",
    ]
    definitions = parameters.read(Definitions())
    assert missing(definitions, NAMESPACE, PLAN.digest) is None
    assert missing(definitions, "alice", PLAN.digest) is not None


def test_what_is_defined_later_does_not_count() -> None:
    parameters = Parameters()
    end = parameters.publish(PLAN)
    definitions = parameters.read(Definitions())
    assert missing(definitions, NAMESPACE, PLAN.digest, end) is None
    assert missing(definitions, NAMESPACE, PLAN.digest, end - 1) is not None


def test_a_model_that_came_too_late_for_its_name_is_missing() -> None:
    parameters = Parameters()
    parameters.define("model", "a:1", b"another one's")
    parameters.publish(PLAN)
    said = missing(parameters.read(Definitions()), NAMESPACE, PLAN.digest)
    assert said is not None
    assert "model a:1" in said


def test_pipelines_are_loaded_once_and_the_oldest_are_let_go() -> None:
    plans = [deployable(f"p{i}") for i in range(KEPT + 1)]
    pipelines = Pipelines(defined(*plans), NAMESPACE)
    first = pipelines.get(plans[0].digest)
    assert pipelines.get(plans[0].digest) is first
    for plan in plans[1:]:
        pipelines.prepare(plan.digest)
    again = pipelines.get(plans[0].digest)
    assert again is not first
    assert again.digest == first.digest


def test_a_plan_that_is_not_there_is_not_prepared_and_can_be_later() -> None:
    parameters, definitions = Parameters(), Definitions()
    pipelines = Pipelines(definitions, NAMESPACE)
    pipelines.prepare(PLAN.digest)
    assert not pipelines.ready(PLAN.digest)
    assert pipelines.verdict(PLAN.digest) is None
    with pytest.raises(UnknownName, match="is not defined"):
        pipelines.get(PLAN.digest)
    parameters.publish(PLAN)
    parameters.read(definitions)
    assert pipelines.get(PLAN.digest).digest == PLAN.digest
    assert pipelines.ready(PLAN.digest)
    assert pipelines.verdict(PLAN.digest) == ""


def test_a_plan_whose_parts_are_no_good_is_one_error() -> None:
    parameters = Parameters()
    parameters.define("plan", "bad", b"\xa1\xff")
    definitions = parameters.read(Definitions())
    assert "not a plan" in str(missing(definitions, NAMESPACE, digest_of(b"\xa1\xff")))
    with pytest.raises(SwapstreamError):
        Pipelines(definitions, NAMESPACE).get(digest_of(b"\xa1\xff"))


def test_the_verdict_is_the_gates_and_the_plan_runs_all_the_same() -> None:
    cracked = broken_model()
    one = deployable_of(cracked)
    pipelines = Pipelines(defined(one), NAMESPACE)
    pipelines.get(one.digest)
    assert "cracked:1: " in str(pipelines.verdict(one.digest))
    assert pipelines.ready(one.digest)


def broken_model() -> Artifact:
    """Its golden scores are not its own."""
    good = model("cracked:1", FIELDS)
    scores = good.golden_scores + 1.0
    digest = payload_digest(good.parameters, good.graph, good.golden_inputs, scores)
    return msgspec.structs.replace(good, golden_scores=scores, manifest=msgspec.structs.replace(good.manifest, digest=digest))


def deployable_of(artifact: Artifact) -> Deployable:
    """PLAN's like with this model as champion."""
    plan = deployable("q", champion=artifact.ref).plan
    pin = Pin(artifact.ref, artifact.digest)
    plan = msgspec.structs.replace(plan, routes=(msgspec.structs.replace(plan.routes[0], champion=pin),))
    return Deployable(plan, PLAN.schemas, (artifact,))


# -- sessions are shared


def sessions_of(pipelines: Pipelines, digest: str) -> dict[str, Any]:
    return {one.pin.name: one.session for route in pipelines.get(digest).input().routes for one in route.all_models()}


def test_a_plan_that_changes_one_route_leaves_the_others_sessions_alone() -> None:
    first = deployable("p", routes=(route("x", champion="a:1", on_error="c:1"), route("y", champion="b:1"), route("z", champion="a:1")))
    second = deployable("p", routes=(route("x", champion="a:1", on_error="c:1"), route("y", champion="b:2"), route("z", champion="a:1")))
    pipelines = Pipelines(defined(first, second), NAMESPACE)
    before, after = (sessions_of(pipelines, plan.digest) for plan in (first, second))
    assert after["a:1"] is before["a:1"]
    assert after["c:1"] is before["c:1"]
    assert after.keys() - before.keys() == {"b:2"}
    assert len(pipelines.sessions) == 4


def test_the_same_model_over_other_features_is_asked_again() -> None:
    other = deployable("q", extractor=("identity", "differences"))
    pin = PLAN.plan.routes[0].champion
    plan = msgspec.structs.replace(other.plan, routes=(msgspec.structs.replace(other.plan.routes[0], champion=pin),))
    pipelines = Pipelines(defined(PLAN, Deployable(plan, other.schemas, ())), NAMESPACE)
    pipelines.get(PLAN.digest)
    pipelines.get(plan.digest)
    assert pipelines.verdict(PLAN.digest) == ""
    assert "features" in str(pipelines.verdict(plan.digest))


def test_a_thousand_models_in_one_plan_take_bounded_memory_and_all_answer() -> None:
    routes = tuple(route(f"pump-{i}", champion=f"m:{i + 1}") for i in range(1_000))
    one = deployable("many", routes=routes)
    pipelines = Pipelines(defined(one), NAMESPACE, sessions=Sessions(room=100 * LEAST))
    part = pipelines.get(one.digest).input()
    assert pipelines.verdict(one.digest) == ""
    assert len(pipelines.sessions) <= 100
    raw = frame([reading(f"pump-{i}", (float(i), 1.0)) for i in range(1_000)])
    (decoded,), _ = pipelines.get(one.digest).decoders.decode(raw, 0, len(raw))
    scored = part.process(decoded, part.new_table())
    assert [role.model.name for role in scored.roles] == [f"m:{i + 1}" for i in range(1_000)]
    assert [role.rows.tolist() for role in scored.roles] == [[i] for i in range(1_000)]
    wanted = [scorer(model(f"m:{i + 1}", FIELDS)).score(np.array([[float(i), 1.0]]))[0] for i in range(1_000)]
    assert [role.scores[0] for role in scored.roles] == wanted
    assert len(pipelines.sessions) <= 100


# -- updates that travel in a token


def update(deployed: Deployable, *refs: str) -> bytes:
    return Update(deployed.plan.encode(), [artifact.encode() for artifact in deployed.models if artifact.ref in refs]).encode()


def test_an_update_brings_its_plan_and_its_models() -> None:
    new = deployable("p", champion="a:2", challengers=("b:1",))
    definitions = defined(PLAN)
    pipelines = Pipelines(definitions, NAMESPACE)
    body = update(new, "a:2")
    assert missing(definitions, NAMESPACE, new.digest, definitions.position, body) is None
    assert pipelines.carry(body) == new.digest
    assert pipelines.get(new.digest).plan == new.plan
    assert pipelines.verdict(new.digest) == ""
    assert sessions_of(pipelines, new.digest).keys() == {"a:2", "b:1"}


def test_what_an_update_carried_counts_for_its_own_token_alone() -> None:
    new = deployable("p", champion="a:2", challengers=("b:1",))
    definitions = defined(PLAN)
    pipelines = Pipelines(definitions, NAMESPACE)
    pipelines.carry(update(new, "a:2"))
    assert "is not defined" in str(missing(definitions, NAMESPACE, new.digest))
    assert "model a:2" in str(missing(definitions, NAMESPACE, new.digest, None, update(new)))
    assert "its token names" in str(missing(definitions, NAMESPACE, PLAN.digest, None, update(new, "a:2")))


def test_an_update_that_is_none_is_refused() -> None:
    definitions = defined(PLAN)
    for body in (b"\xa1\xff", Update(b"\xa1\xff", []).encode(), b"\x00" * 50_000):
        assert missing(definitions, NAMESPACE, PLAN.digest, None, body)
        with pytest.raises(InvalidDefinition):
            Pipelines(definitions, NAMESPACE).carry(body)


def test_updates_leave_little_behind() -> None:
    definitions = defined(PLAN)
    pipelines = Pipelines(definitions, NAMESPACE)
    plans = [deployable("p", champion=f"a:{i}", challengers=("b:1",)) for i in range(2, 30)]
    loaded = []
    for plan in plans:
        loaded.append(pipelines.get(pipelines.carry(update(plan, plan.plan.routes[0].champion.name))))  # type: ignore[union-attr]
    assert len(pipelines._loaded) == len(pipelines._carried) == KEPT
    assert len({id(one.decoders) for one in loaded}) == 1
    assert len({id(one.input().extractor) for one in loaded}) == 1
    assert loaded[0].input().routes[0].models[0].session.manifest.version == 2


# -- models by reference


class Away:
    """A store that is away until it is `back`."""

    def __init__(self, objects: Objects) -> None:
        self.objects, self.back, self.asked = objects, False, 0

    def get(self, digest: str, size: int, where: str) -> bytes:
        self.asked += 1
        if not self.back:
            raise Unavailable("store: away")
        return self.objects.get(digest, size, where)


def by_reference(tmp_path: Path) -> tuple[Definitions, Objects]:
    """PLAN with model a:1 in a store."""
    parameters = Parameters()
    store = Store(tmp_path / "store")
    for kind, name, body in PLAN.definitions():
        if name == "a:1":
            entry = store.put(model("a:1", FIELDS))
            where = f"objects/{entry.digest}"
            parameters.write(Statement("model", NAMESPACE, name, entry.digest, "a person", 1, "", b"", len(body), where).encode())
        else:
            parameters.define(kind, name, body)
    return parameters.read(Definitions()), Objects(str(tmp_path / "store"), cache=ObjectCache(tmp_path / "cache"))


def test_a_large_model_is_fetched_and_then_is_a_model_like_any_other(tmp_path: Path) -> None:
    definitions, objects = by_reference(tmp_path)
    assert missing(definitions, NAMESPACE, PLAN.digest) is None
    pipelines = Pipelines(definitions, NAMESPACE, objects)
    pipelines.get(PLAN.digest)
    assert pipelines.verdict(PLAN.digest) == ""
    assert sessions_of(pipelines, PLAN.digest).keys() == {"a:1", "b:1"}


def test_a_store_that_is_away_is_asked_again_after_a_while_and_meanwhile_costs_nothing(tmp_path: Path) -> None:
    definitions, objects = by_reference(tmp_path)
    away, now = Away(objects), [0.0]
    pipelines = Pipelines(definitions, NAMESPACE, away, clock=lambda: now[0])  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="away"):
        pipelines.get(PLAN.digest)
    assert pipelines.verdict(PLAN.digest) == "store: away"
    for _ in range(10):
        assert not pipelines.ready(PLAN.digest)
        with pytest.raises(Unavailable):
            pipelines.get(PLAN.digest)
    assert away.asked == 1
    away.back, now[0] = True, RETRY
    assert pipelines.get(PLAN.digest).plan == PLAN.plan
    assert away.asked == 2
    assert pipelines.ready(PLAN.digest)


def test_a_job_without_a_store_says_so(tmp_path: Path) -> None:
    definitions, _ = by_reference(tmp_path)
    with pytest.raises(Unavailable, match="the job was submitted without a store"):
        Pipelines(definitions, NAMESPACE).get(PLAN.digest)


def test_loading_rests_between_steps_until_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployable("many", routes=tuple(route(f"pump-{i}", champion=f"m:{i + 1}") for i in range(5)))
    rests: list[float] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            return True

    pipelines = Pipelines(defined(one), NAMESPACE, sessions=Sessions(room=LEAST))
    pipelines._hurry = Event()
    pipelines.prepare(one.digest)
    pipelines._loaded[one.digest].result()
    loading = len(rests)
    assert loading > 5  # for each model more than once
    assert max(rests) > 0
    part = pipelines.get(one.digest).input()
    sessions = [part.routes[i].models[0].session for i in range(5)]
    assert len({id(session) for session in sessions}) == 5
    assert len(rests) == loading


def test_whoever_waits_need_not_wait_for_what_was_only_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [deployable(f"other-{i}") for i in range(3)]
    pipelines = Pipelines(defined(PLAN, *others), NAMESPACE)
    blocked = threading.Event()
    pipelines._loading.submit(blocked.wait, 10)
    for other in others:
        pipelines.prepare(other.digest)
    pipelines.prepare(PLAN.digest)
    assert pipelines.verdict(PLAN.digest) is None
    assert not pipelines.ready(PLAN.digest)
    assert pipelines.get(PLAN.digest).plan == PLAN.plan
    assert not blocked.is_set()
    blocked.set()
