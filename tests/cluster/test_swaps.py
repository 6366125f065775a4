"""Plans that change while records flow, in every way there is: each record is scored by what its offset implies, once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx.parser
import pytest

from swapstream.models import pack
from swapstream.models.artifact import Artifact, payload_digest
from swapstream.models.errors import Conflict, Rejected
from swapstream.models.numbers import numbers
from swapstream.models.store import Store
from swapstream.operators.sessions import ROOM
from swapstream.operators.signing import Signer
from swapstream.operators.token import Token
from swapstream.scripts import kafka
from swapstream.scripts.arrays import write_parameters
from swapstream.scripts.change import Order, carry_out
from swapstream.scripts.controller import Controller
from swapstream.scripts.known import known_of
from swapstream.scripts.publish import Part, author_of, read_definitions
from swapstream.scripts.updates import Updater

from .demo import FEATURES, PATH, messages, smoothed
from .killing import python_workers
from .support import Place, Stand, flowing, readings, send, send_to, wait_until

pytestmark = pytest.mark.cluster

NAME = "swaps"
RATE = 1000
PARTITIONS = range(4)
UPDATES, MANY = 20, 1000
PAST = 4.0
"""Seconds in which readers get past a transaction that nobody ends: its two, half a second until the broker looks, and a busy machine's."""
LARGEST = '<ir_version: 8, opset_import: ["": 18]> g (float[n, {}] x) => (float[n, 1] y) <int64[1] a = {{1}}> {{ y = ReduceMax(x, a) }}'
EXTRACTOR = smoothed(5.0)


class Begun(NamedTuple):
    """A plan that took effect: its epoch and champion, and by partition the first offset whose record is its own."""

    epoch: int
    model: str
    first: dict[int, int]


class Run:
    """A deployment under way, and what was done to it."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.begun = [Begun(0, f"{NAME}:1", dict.fromkeys(PARTITIONS, 0))]
        self.swaps: list[list[dict[str, Any]]] = []
        self.forged: list[Place] = []
        self.refused = ""
        self.held: set[Place] = set()
        self.aborted = 0
        self.killed = 0
        self.status: list[dict[str, Any]] = []

    def take(self, model: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of a command that began a plan with this version as champion."""
        assert [row["event"] for row in rows] == ["activated"] * len(PARTITIONS)
        after = {row["partition"]: row["cut_offset"] + (row["how"] != "arrival") for row in rows}
        self.begun.append(Begun(rows[0]["epoch"], f"{NAME}:{model}", after))
        return rows

    def implied(self, place: Place) -> tuple[int, str]:
        """Epoch and champion of the record at a place: of the plans that began before it the newest."""
        partition, offset = place
        newest = max((one for one in self.begun if one.first[partition] <= offset), key=lambda one: one.epoch)
        return newest.epoch, newest.model

    def collect(self) -> None:
        self.answers = self.stand.settle(120)
        self.telemetry = self.stand.telemetry()
        self.rows = {(row["partition"], row["offset"]): row for frame in self.stand.frames() for row in frame.rows()}
        self.ledger = self.stand.messages("ledger")

    def events(self, event: str) -> dict[Place, dict[str, Any]]:
        """What shards said, by the token that they said it of."""
        return {(row["partition"], row["offset"]): row for row in self.ledger if row["event"] == event and "partition" in row}


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stand = Stand(cluster, tmp_path_factory.mktemp(NAME), NAME)
    plans = {}
    for version, kind in ((1, "zscore"), (2, "pca"), (3, "zscore")):
        rows = np.random.default_rng(version).normal(size=(2000, len(FEATURES)))
        plans[version] = stand.plan(f"plan-{version}", PATH, EXTRACTOR, stand.train(kind, version, rows, FEATURES))
    found = Run(stand)
    stand.run("submit", "detect", "--plan", plans[1])
    with flowing(stand, messages(40, bad=False), RATE) as enough:
        wait_until(lambda: len(stand.frames()) > 20, 60, "records are scored")
        five_swaps(found, plans)
        refusal(found)
        back(found)
        pushes(found)
        found.forged = forged(stand)
        hold(found, plans)
        rivals(found, plans)
        kill(found, plans)
        enough.wait(2)
        enough.set()
    found.status = stand_status(stand)
    found.collect()
    yield found
    stand.cancel()


def five_swaps(run: Run, plans: dict[int, Path]) -> None:
    for version, how in ((2, "plan"), (3, "plan"), (1, "champion"), (2, "plan"), (3, "champion")):
        target = ("--plan", plans[version]) if how == "plan" else ("--champion", f"{NAME}:{version}", "--deployment", NAME)
        run.swaps.append(run.take(version, run.stand.rows("swap", *target)))


def refusal(run: Run) -> None:
    """A model that the gate of the command line would have refused, brought past it: the shards refuse it."""
    environment = run.stand.environment
    good = Store(environment.store).get(f"{NAME}:1")
    wrong = good.golden_scores + 1.0
    digest = payload_digest(good.parameters, good.graph, good.golden_inputs, wrong)
    manifest = msgspec.structs.replace(good.manifest, version=999, digest=digest)
    bad = msgspec.structs.replace(good, manifest=manifest, golden_scores=wrong)
    plan = known_of(environment, "prod", NAME).with_champion(bad)
    parts = [Part("model", bad.ref, bad.encode()), Part("plan", plan.name, plan.encode())]
    with pytest.raises(Rejected) as refused:
        carry_out(Order(environment, "prod", NAME, author_of(environment, "worse")), plan, parts, True)
    run.refused = str(refused.value)


def back(run: Run) -> None:
    """From 3 to 2 by tokens, and from there to 1 at arrival: the plans 1, 2, 3 came one after the other, twice."""
    run.take(2, run.stand.rows("rollback", NAME))
    rows = run.take(1, run.stand.rows("rollback", NAME, "--now"))
    assert {row["how"] for row in rows} == {"arrival"}


def shifted(artifact: Artifact, by: float) -> dict[str, Any]:
    return {name: array + by for name, array in numbers(artifact).items()}


def pushes(run: Run) -> None:
    """New numbers for 1: by command in log order and at arrival, and many times by a trainer."""
    stand, environment = run.stand, run.stand.environment
    file = stand.directory / "p.npz"
    first = Store(environment.store).get(f"{NAME}:1")
    write_parameters(str(file), shifted(first, 0.01))
    run.take(4, stand.rows("push", f"{NAME}:1", "--params", file, "--now", "--deployment", NAME))
    write_parameters(str(file), shifted(first, 0.015))
    run.take(5, stand.rows("push", f"{NAME}:1", "--params", file, "--at", "arrival", "--deployment", NAME))
    with Updater(environment, NAME) as updater:
        for number in range(UPDATES):
            cut = updater.push(shifted(first, 0.02 + number / 1000)).cut
            after = {partition: offset + 1 for partition, offset in cut.offsets.items()}
            run.begun.append(Begun(cut.epoch, updater.artifact.ref, after))


def forged(stand: Stand) -> list[Place]:
    """Tokens that would begin plan 2, unsigned and signed by somebody."""
    definitions = read_definitions(stand.environment)
    plan = definitions.cuts("prod", NAME)[0].plan
    topic = stand.environment.topics.telemetry.name
    token = Token("swap", "prod", NAME, 10_000, plan, topic, 2, definitions.position, "Eve", 0, "")
    ahead = msgspec.structs.replace(token, parameters_end=0)
    return [send_to(stand, 2, payload) for payload in (token.encode(), token.encode(Signer.new()), ahead.encode())]


def hold(run: Run, plans: dict[int, Path]) -> None:
    """A controller that has read more of `parameters` than there is: shards can't judge its tokens, and hold until the abort."""
    stand, environment = run.stand, run.stand.environment
    run.take(1, stand.rows("swap", "--plan", plans[1]))
    plan = read_definitions(environment).cuts("prod", NAME)[0].plan
    with Controller(environment, "prod", NAME, author_of(environment, "too early")) as controller:
        controller.definitions.position += 1000
        cut = controller.swap(plan).cut
    run.held, run.aborted = set(cut.offsets.items()), cut.epoch
    wait_until(lambda: held_places(stand) >= run.held, 60, "all shards hold")
    assert {row["holds_at"] is not None for row in stand_status(stand)} == {True}
    run.take(1, stand.rows("abort", NAME, "--why", "it can't be judged"))


def held_places(stand: Stand) -> set[Place]:
    return {(row["partition"], row["offset"]) for row in stand.messages("ledger") if row["event"] == "holding"}


def rivals(run: Run, plans: dict[int, Path]) -> None:
    """Two controllers at once: the older one is told, whether it had begun to prepare or not, and nothing of it takes effect."""
    environment = run.stand.environment
    plan = read_definitions(environment).cuts("prod", NAME)[0].plan
    for prepared in (False, True):
        with Controller(environment, "prod", NAME, author_of(environment, "older")) as old:
            if prepared:
                old.prepare(plan)
            with Controller(environment, "prod", NAME, author_of(environment, "newer")):
                pass
            with pytest.raises(Conflict, match="another controller has taken over"):
                old.swap(plan)
    run.take(3, run.stand.rows("swap", "--plan", plans[3]))


def kill(run: Run, plans: dict[int, Path]) -> None:
    """Between write and commit: readers go on by themselves soon, and the next controller takes the same epoch."""
    stand, environment = run.stand, run.stand.environment
    known = read_definitions(environment)
    run.killed = max(cut.epoch for cut in known.cuts("prod", NAME)) + 1
    stand.kill_a_controller(known.cuts("prod", NAME)[1].plan)
    partition, offset = send_to(stand, 0, next(messages())[1])
    wait_until(lambda: stand.ends(environment.topics.telemetry.name)[partition] > offset, PAST, "readers get past the open transaction")
    run.take(2, stand.rows("swap", "--plan", plans[2]))


def stand_status(stand: Stand) -> list[dict[str, Any]]:
    """What `status` says of this deployment's shards."""
    found = msgspec.json.decode(stand.run("status", "--json"))
    return [row for row in found["shards"] if row["deployment"] == f"prod.{NAME}"]


# -- what must be so


def test_each_record_is_answered_once(run: Run) -> None:
    assert run.answers == Counter(readings(run.telemetry).keys())
    assert len(run.rows) > 10_000


def test_every_record_is_scored_by_what_its_offset_implies(run: Run) -> None:
    wrong = {place: (row["epoch"], row["model"]) for place, row in run.rows.items() if (row["epoch"], row["model"]) != run.implied(place)}
    assert wrong == {}
    epochs = {row["epoch"] for row in run.rows.values()}
    assert epochs >= {one.epoch for one in run.begun if one.epoch < 10}


def test_the_ledger_says_where_each_shard_took_up_what_came_at_arrival(run: Run) -> None:
    """By the rollback, and by the push."""
    told = {(row["epoch"], row["partition"]): row["offset"] for row in run.ledger if row.get("how") == "arrival"}
    assert len(told) == 2 * len(PARTITIONS)
    for (epoch, partition), first in told.items():
        assert min(place[1] for place, row in run.rows.items() if (place[0], row["epoch"]) == (partition, epoch)) == first


def test_verify_computes_the_same_again_from_the_logs(run: Run) -> None:
    rows = run.stand.rows("verify", "--deployment", NAME)
    assert [(row["partition"], row["first"], row["held"]) for row in rows] == [(partition, None, None) for partition in PARTITIONS]
    assert sum(row["records"] for row in rows) >= len(run.rows)
    assert sum(row["scores"] for row in rows) == len(run.rows)


def test_a_script_that_knows_only_wire_formats_agrees(run: Run) -> None:
    run.stand.second_opinion()


def test_epochs_grow_one_by_one_but_for_the_one_that_was_aborted(run: Run) -> None:
    epochs = [one.epoch for one in run.begun]
    assert [*epochs[: epochs.index(run.aborted + 1)], run.aborted, *epochs[epochs.index(run.aborted + 1) :]] == list(range(len(epochs) + 1))


def test_shards_are_prepared_before_and_tell_how_long_it_took(run: Run) -> None:
    for rows in run.swaps:
        assert [row["prepared"] for row in rows] == ["yes"] * len(PARTITIONS)
        for row in rows:
            assert row["prepare_ms"] >= 0
            assert 0 <= row["pause_ms"] <= row["longest_pause_ms"]
            assert 0 <= row["seconds"] <= row["last_seconds"] < 10
    asked = run.events("prepared")
    assert all(row["job"] for row in asked.values())


def test_what_shards_refuse_changes_nothing(run: Run) -> None:
    assert run.refused.startswith(f"shards [0, 1, 2, 3] refused plan {NAME!r}, nothing was changed: ")
    assert "golden" in run.refused
    told = run.events("refused")
    assert {partition for partition, _ in told} == set(PARTITIONS)
    assert all("golden" in row["reason"] for row in told.values())
    assert f"{NAME}:999" not in {row["model"] for row in run.rows.values()}


def test_forged_tokens_are_rejected_on_the_ledger(run: Run) -> None:
    rejected = run.events("rejected")
    assert rejected.keys() == set(run.forged)
    assert all(row["reason"].startswith("signature: ") for row in rejected.values())
    assert 10_000 not in {row["epoch"] for row in run.rows.values()}


def test_shards_that_hold_go_on_under_the_plan_before_an_abort(run: Run) -> None:
    assert run.events("aborted").keys() == run.held
    assert run.events("holding").keys() & run.events("released").keys() >= run.held
    assert run.aborted not in {row["epoch"] for row in run.rows.values()}
    assert max(row["held"] for row in run.events("released").values()) > 0


def test_a_controller_that_is_killed_leaves_no_trace(run: Run) -> None:
    of_killed = [one.model for one in run.begun if one.epoch == run.killed]
    assert of_killed == [f"{NAME}:2"], "the one after it took its epoch"


def test_status_has_the_last_epoch_of_every_shard(run: Run) -> None:
    last = run.begun[-1]
    assert [(row["partition"], row["epoch"], row["plan"]) for row in run.status] == [(p, last.epoch, NAME) for p in PARTITIONS]
    assert {row["holds_at"] for row in run.status} == {None}
    assert all(row["behind_records"] is not None for row in run.status)


def test_rows_of_the_ledger_are_chained(run: Run) -> None:
    last: dict[str, str] = {}
    for record in ledger_bytes(run.stand):
        row = msgspec.json.decode(record)
        assert row.get("prev", "") == last.get(row["writer"], ""), row
        last[row["writer"]] = hashlib.sha256(record).hexdigest()
    assert sum("/controller/" in writer for writer in last) > 5


def ledger_bytes(stand: Stand) -> list[bytes]:
    return [record.value or b"" for record in kafka.read_to_end(stand.environment, stand.environment.topics.ledger.name)]


def test_the_same_rollback_again_changes_nothing(run: Run) -> None:
    """Comes last: with the epoch that is undone named, a repetition is refused."""
    epoch = run.begun[-1].epoch
    rows = run.stand.rows("rollback", NAME, "--epoch", str(epoch))
    assert {row["epoch"] for row in rows} == {epoch + 1}
    run.stand.run("rollback", NAME, "--epoch", str(epoch), code=4)


@pytest.mark.long
def test_a_thousand_models_live_in_one_job(run: Run) -> None:
    """Comes behind everything else. More than a worker has room for at once; and where one route is changed, one model is loaded."""
    stand = run.stand
    start, before = stand.ends(stand.environment.topics.scores.name), resident(stand)
    routes = [{"devices": f"pump-{number}", "champion": ref} for number, ref in enumerate(many(stand, MANY + 1))]
    spare = routes.pop()["champion"]
    first = stand.rows("swap", "--plan", routed(stand, "many", routes), "--timeout", "200")
    send(stand, list(islice(messages(MANY, bad=False), 3 * MANY)))
    stand.settle(200)
    found = Counter(row["model"] for frame in stand.frames(start) for row in frame.rows())
    assert found == {route["champion"]: 3 for route in routes}
    grown = max(bytes_ - before.get(worker, 0) for worker, bytes_ in resident(stand).items())
    assert grown < ROOM, f"a worker has grown by {grown / 1e6:.0f} MB"
    routes[7]["champion"] = spare
    again = stand.rows("swap", "--plan", routed(stand, "one-other", routes))
    assert max(row["prepare_ms"] for row in again) < min(row["prepare_ms"] for row in first) / 4


def many(stand: Stand, count: int) -> list[str]:
    """Models of ONNX, small to send: a session takes some hundred times as much. The largest of the features is the score."""
    graph = onnx.parser.parse_model(LARGEST.format(len(FEATURES))).SerializeToString()
    one = pack(graph, np.random.default_rng(1).normal(size=(100, len(FEATURES))), FEATURES, name="many", threshold=9.0)
    store = Store(stand.environment.store)
    for version in range(1, count + 1):
        store.put(msgspec.structs.replace(one, manifest=msgspec.structs.replace(one.manifest, version=version)))
    return [f"many:{version}" for version in range(1, count + 1)]


def routed(stand: Stand, name: str, routes: list[dict[str, str]]) -> Path:
    return stand.write(name, {"name": NAME, "schema": str(PATH), "extractor": EXTRACTOR, "routes": routes, "champion": f"{NAME}:1"})


def resident(stand: Stand) -> dict[int, int]:
    """Bytes of the Python processes that run shards, by their ids."""
    return {process.pid: process.memory_info().rss for process in python_workers(stand)}
