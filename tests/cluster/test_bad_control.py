"""Everything bad that can be said to a job, said to one that scores under load: each is refused by name, and the champion goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx.parser
import pytest

from swapstream.models import pack
from swapstream.models.artifact import Artifact
from swapstream.models.errors import Conflict
from swapstream.models.schema import load_schema
from swapstream.models.store import Store, where
from swapstream.operators.cut import Cut
from swapstream.operators.plan import VERSION, Pin, Plan
from swapstream.operators.preparing import MAX_PENDING
from swapstream.operators.signing import Signer
from swapstream.operators.statement import MAX_DEFINITION, Kind, Statement, digest_of
from swapstream.operators.token import Token
from swapstream.operators.trust import Action, KeyMessage
from swapstream.scripts import kafka, publish
from swapstream.scripts.controller import Controller
from swapstream.scripts.publish import author_of, read_definitions
from swapstream.scripts.transactions import HELD_SECONDS
from tests.support.bad_artifacts import FEATURES, bad_artifact, names

from .demo import messages
from .support import Place, Stand, flowing, readings, send_to, wait_until

pytestmark = pytest.mark.cluster

NAME, RATE, PARTITIONS = "badly", 500, range(4)
BOB, EVE, STRANGER = (Signer.from_seed(bytes([number]) * 32) for number in (2, 3, 4))
SCHEMA = {"codec": "msgpack", "layout": "positional", "fields": list(FEATURES)}
NAN = "weights that are nan"
PICKY = """<ir_version: 8, opset_import: ["": 18]> picky (float[n, 2] x) => (float[n, 1] y)
<int64[1] column = {0}, int64[1] flat = {-1}, int64[2] one = {-1, 1}, float[2] table = {0.5, 2.5}> {
    whole = Cast<to = 7>(x)
    size = Abs(whole)
    first = Gather<axis = 1>(size, column)
    place = Reshape(first, flat)
    found = Gather<axis = 0>(table, place)
    y = Reshape(found, one)
}"""
"""A graph that looks the first feature up in a table with places for -2 to 2."""
Rows = list[dict[str, Any]]


class Told(NamedTuple):
    """Where something bad lies, and a part of what the ledger must say of it."""

    what: str
    place: Place
    reason: str


class Run:
    """A deployment under load, and what was said to it."""

    def __init__(self, stand: Stand, schema: Path) -> None:
        self.stand, self.schema = stand, schema
        self.environment, self.topic = stand.environment, stand.environment.topics.telemetry.name
        self.author = author_of(self.environment, "bad control")
        assert self.author.signer is not None
        self.signer: Signer = self.author.signer
        self.tokens: list[Told] = []
        self.skipped: list[Place] = []
        self.definitions: list[Told] = []
        self.harmless: list[int] = []
        self.prepared: list[Told] = []
        self.holding: list[Told] = []
        self.served: list[str] = []
        self.picky = 0
        self.doctor = self.status = ""
        self.again: Rows = []

    # -- what is

    def known(self) -> publish.Definitions:
        return read_definitions(self.environment)

    def cut(self) -> Cut:
        """The newest."""
        return max(self.known().cuts("prod", NAME), key=lambda cut: cut.epoch)

    def plan(self) -> Plan:
        return Plan.decode(self.known().require("prod", "plan", self.cut().plan))

    def ledger(self, *events: str) -> Rows:
        return [row for row in self.stand.messages("ledger") if row["event"] in events]

    def wait(self, *events: str, wanted: dict[tuple[str, int, int], str], seconds: float = 30) -> None:
        """For rows of these topics, partitions and offsets, of which each is called something."""
        until, missing = time.monotonic() + seconds, wanted
        while missing:
            last = self.stand.messages("ledger")[-3:]
            assert time.monotonic() < until, f"after {seconds:g} s the ledger has no {events} of {sorted(set(missing.values()))}: {last}"
            time.sleep(0.2)
            there = {(row["topic"], row["partition"], row["offset"]) for row in self.ledger(*events) if "partition" in row}
            missing = {place: what for place, what in wanted.items() if place not in there}

    def wait_for(self, told: list[Told], *events: str, seconds: float = 30) -> None:
        """For what shards say of records in telemetry."""
        self.wait(*events, wanted={(self.topic, *one.place): one.what for one in told}, seconds=seconds)

    def controller(self) -> Controller:
        return Controller(self.environment, "prod", NAME, self.author)

    # -- what is said

    def define(self, *statements: Statement) -> None:
        """Past every check of the command line."""
        publish.write(self.environment, list(statements), self.signer)

    def say(self, records: list[tuple[bytes, bytes | None]]) -> list[int]:
        """Records of `parameters`, as they are; returns their offsets."""
        topic = self.environment.topics.parameters.name
        with closing(kafka.producer(self.environment, linger_ms=0)) as producer:
            return [producer.send(topic, key=key, value=value).get(timeout=10).offset for key, value in records]

    def begin(self, plan: str) -> None:
        """A plan in every shard, unprepared."""
        with self.controller() as controller:
            cut = controller.swap(plan).cut
        self.wait_for([Told("a cut", place, "") for place in cut.offsets.items()], "activated")

    def ask(self, controller: Controller, plan: str, what: str, reason: str) -> None:
        """Every shard, whether it could run a plan."""
        offsets = controller.prepare(plan).cut.offsets
        self.prepared += [Told(what, place, reason) for place in offsets.items()]

    def answered(self) -> None:
        self.wait_for(self.prepared, "refused", seconds=90)  # a busy machine rests between two steps of loading


def stated(kind: Kind, name: str, body: bytes, namespace: str = "prod") -> Statement:
    return Statement(kind, namespace, name, digest_of(body), "Mallory", 1, "", body)


def with_champion(plan: Plan, ref: str, digest: str, on_error: Pin | None = None) -> Plan:
    route = msgspec.structs.replace(plan.routes[0], champion=Pin(ref, digest), on_error=on_error)
    return msgspec.structs.replace(plan, routes=(route,), v=VERSION).oldest()


def of_store(run: Run, version: int) -> Artifact:
    return Store(run.environment.store).get(f"{NAME}:{version}")


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    stand = Stand(cluster, tmp_path_factory.mktemp(NAME), NAME)
    schema = stand.write("gauges", SCHEMA)
    first, second = (stand.plan(f"plan-{version}", schema, ["identity"], trained(stand, version)) for version in (1, 2))
    stand.run("submit", "detect", "--plan", first)
    found = Run(stand, schema)
    with flowing(stand, messages(40, bad=False, schema=load_schema(schema)), RATE) as enough:
        keys(found)
        wait_until(lambda: len(stand.frames()) > 8, 60, "records are scored")
        stand.run("swap", "--plan", second)  # from here on what Bob signs is worth nothing
        models(found)
        raising(found)
        tokens(found)
        away(found)
        controllers(found)
        open_transaction(found, lambda: definitions(found))
        found.again = stand.rows("swap", "--plan", second)
        wait_until(lambda: stand.dead_letters() != [], 30, "what only starts like a token is a dead letter")
        enough.set()
    yield found
    stand.cancel()


def trained(stand: Stand, version: int) -> str:
    rows = np.random.default_rng(version).normal(size=(500, len(FEATURES)))
    return stand.train("zscore", version, rows, FEATURES)


# -- what is said


def keys(run: Run) -> None:
    """Prod trusts Bob for a while, alice's namespace Eve."""
    run.define(key_message("trust", BOB, 1))
    run.say([(b"alice", key_message("trust", EVE, 1, "alice").encode(EVE))])
    run.define(key_message("revoke", BOB, 2))


def key_message(action: Action, key: Signer, when: int, namespace: str = "prod") -> Statement:
    return stated("key", key.id, KeyMessage(key.id, key.public, action, "a key", when).encode(), namespace)


def models(run: Run) -> None:
    """Each bad model in a plan: refused by every shard. One of them is begun all the same."""
    bad = [bad_artifact(name).numbered(version) for version, name in enumerate(names(), 1)]
    now = run.plan()
    plans = {one.name: with_champion(now, one.ref, one.digest) for one in bad}
    run.define(*(stated("model", one.ref, one.data) for one in bad), *(stated("plan", NAME, plan.encode()) for plan in plans.values()))
    with run.controller() as controller:
        for first in range(0, len(bad), MAX_PENDING):
            for one in bad[first : first + MAX_PENDING]:
                run.ask(controller, plans[one.name].digest, one.name, f"{one.ref}: {one.check}: ")
            run.answered()
    run.begin(plans[NAN].digest)
    run.served.append(next(one.ref for one in bad if one.name == NAN))
    wait_until(lambda: any(row["error"] for row in scored(run)), 30, "rows of a bad model say why they have no score")
    run.begin(now.digest)


def raising(run: Run) -> None:
    """A champion that the gate lets pass and that raises on some readings, for which another model answers."""
    now, first = run.plan(), of_store(run, 1)
    model = pack(onnx.parser.parse_model(PICKY).SerializeToString(), np.linspace((-1.9, 0.0), (1.9, 1.0), 50), FEATURES, name="picky")
    plan = with_champion(now, model.ref, model.digest, Pin(first.ref, first.digest))
    run.define(stated("model", model.ref, model.encode()), stated("plan", NAME, plan.encode()))
    start = run.stand.ends(run.environment.topics.scores.name)
    run.begin(plan.digest)
    run.picky = run.cut().epoch
    wait_until(lambda: any(row["role"] == "on_error" for frame in run.stand.frames(start) for row in frame.rows()), 60,
               "another model answers where the champion raises")  # fmt: skip
    run.begin(now.digest)
    run.served.append(model.ref)


def tokens(run: Run) -> None:
    """Tokens of plan 1 that nobody may write, and such as have no effect."""
    cut, end, first = run.cut(), run.known().position, of_store(run, 1)
    plan = with_champion(run.plan(), first.ref, first.digest).digest
    good = Token("swap", "prod", NAME, cut.epoch + 1000, plan, run.topic, 2, end, "Mallory", 0, "")
    old = run.stand.telemetry()[2, cut.offsets[2]].value or b""

    def changed(signer: Signer | None = run.signer, **changes: Any) -> bytes:
        return msgspec.structs.replace(good, **changes).encode(signer)

    bad = {
        "unsigned": (changed(None), "signature: none"),
        "unsigned, of a time before the first key": (changed(None, parameters_end=0), "signature: none"),
        "by a key that nobody knows": (changed(STRANGER), "is not trusted in namespace 'prod'"),
        "by another namespace's key": (changed(EVE), "is not trusted in namespace 'prod'"),
        "by a revoked key": (changed(BOB), "is not trusted in namespace 'prod'"),
        "by a revoked key, of a time when it was not": (changed(BOB, parameters_end=3), "is not trusted in namespace 'prod'"),
        "damaged": (damaged(changed()), "signature: it is not that of key"),
        "too large": (changed(why="x" * 70_000), "size: 70"),
        "for a plan that nobody has defined": (changed(plan="0" * 64), "is not defined"),
        "of an older epoch": (changed(epoch=1), f"epoch 1 is not above {cut.epoch}"),
        "the same token again": (old, f"epoch {cut.epoch} is not above {cut.epoch}"),
        "written for another partition": (changed(partition=1), f"written for {run.topic}-1, found in {run.topic}-2"),
        "of a kind that nobody knows": (changed(kind="dance"), "kind 'dance' is unknown"),
    }
    run.tokens = [Told(what, send_to(run.stand, 2, payload), reason) for what, (payload, reason) in bad.items()]
    run.skipped = [send_to(run.stand, 2, changed(deployment="other")), send_to(run.stand, 2, changed(namespace="alice"))]
    send_to(run.stand, 2, b"\xc1\x00")
    run.wait_for(run.tokens, "rejected")


def damaged(payload: bytes) -> bytes:
    """With a bit of its signature turned."""
    return payload[:-1] + bytes([payload[-1] ^ 1])


def definitions(run: Run) -> None:
    """What a worker refuses to read from `parameters`; and what it has read, once more, and taken away."""
    bad: dict[str, tuple[bytes, str]] = {
        "bytes": (b"\xdd\xff\xff\xff\xff", "not a definition"),
        "a pickle": (bad_artifact("a pickle").data, "not a definition"),
        "unsigned": (stated("plan", NAME, b"x").encode(), "signature: none"),
        "by a key that nobody knows": (stated("plan", NAME, b"x").encode(STRANGER), "is not trusted"),
        "by another namespace's key": (stated("plan", NAME, b"x").encode(EVE), "is not trusted"),
        "by a revoked key": (stated("plan", NAME, b"x").encode(BOB), "is not trusted"),
        "damaged": (damaged(stated("plan", NAME, b"x").encode(run.signer)), "signature: it is not that of key"),
        "of another digest": (msgspec.structs.replace(stated("plan", NAME, b"x"), digest="0" * 64).encode(run.signer), "digest: "),
        "the same version, other bytes": (stated("model", f"{NAME}:2", b"x").encode(run.signer), f"model '{NAME}:2' is defined already"),
        "a name that is a path": (stated("model", "../../evil:1", b"x").encode(run.signer), "name: allowed are"),
        "a namespace that is a path": (stated("model", "evil:1", b"x", "../prod").encode(run.signer), "namespace: '../prod'"),
        "too large": (stated("model", "large:1", bytes(MAX_DEFINITION)).encode(run.signer), f"at most {MAX_DEFINITION}"),
        "a cut map by nobody": (stated("cut", f"{NAME}:900", b"").encode(), "signature: none"),
    }
    offsets = run.say([(what.encode(), value) for what, (value, _) in bad.items()])
    run.definitions = [Told(what, (0, offset), reason) for offset, (what, (_, reason)) in zip(offsets, bad.items(), strict=True)]
    run.harmless = again_and_away(run)
    run.wait("rejected", wanted={(run.environment.topics.parameters.name, *told.place): told.what for told in run.definitions})


def again_and_away(run: Run) -> list[int]:
    """The champion and its plan said again, and tombstones on both."""
    plan = run.plan()
    pin = plan.routes[0].champion
    assert pin is not None
    keys = [f"prod/model/{pin.name}/{pin.digest}".encode(), f"prod/plan/{NAME}/{plan.digest}".encode()]
    there = {record.key: record.value for record in kafka.read_to_end(run.environment, run.environment.topics.parameters.name)}
    return run.say([*((key, there[key]) for key in keys), *((key, None) for key in keys)])


def away(run: Run) -> None:
    """A model by reference: the store has not got it, then has other bytes under its name, and in the end its own."""
    now, artifact = run.plan(), unknown(run)
    data = artifact.encode()
    said = Statement("model", "prod", artifact.ref, artifact.digest, "Mallory", 1, "", b"", len(data), where(artifact.digest))
    plan = with_champion(now, artifact.ref, artifact.digest)
    run.define(said, stated("plan", NAME, plan.encode()))
    place = Path(str(run.environment.store)) / where(artifact.digest)
    with run.controller() as controller:
        run.ask(controller, plan.digest, "a store that is away", "store: ")
        run.answered()
        place.write_bytes(data[:-1] + b"\x00")
        time.sleep(1.2)  # a store that was away is asked again after a second
        run.ask(controller, plan.digest, "a store that returns other bytes", f"digest: {digest_of(data[:-1] + bytes(1))}; defined is")
        run.answered()
        cut = controller.swap(plan.digest).cut
    run.holding = [Told("a cut whose model is away", one, "") for one in cut.offsets.items()]
    run.wait_for(run.holding, "holding")
    place.write_bytes(data)
    run.wait_for(run.holding, "released")
    run.served.append(artifact.ref)
    run.begin(now.digest)


def unknown(run: Run) -> Artifact:
    """A model that is in order, and in no store."""
    first = of_store(run, 1)
    return msgspec.structs.replace(first, manifest=msgspec.structs.replace(first.manifest, version=77))


def controllers(run: Run) -> None:
    """Two at once, of which the older is told; and one that is killed between its tokens and their commit."""
    plan = run.cut().plan
    with run.controller() as old:
        with run.controller():
            pass
        with pytest.raises(Conflict, match="another controller has taken over"):
            old.swap(plan)
    epoch = run.cut().epoch
    first = of_store(run, 1)
    run.stand.kill_a_controller(with_champion(run.plan(), first.ref, first.digest).digest)
    run.begin(plan)
    assert run.cut().epoch == epoch + 1, "it took the killed one's epoch"


def open_transaction(run: Run, meanwhile: Callable[[], None]) -> None:
    """Another producer's on telemetry, which holds back every reader until it is ended."""
    with closing(kafka.transactional_producer(run.environment, "a-loader", 60_000)) as other:
        other.begin_transaction()
        other.send(run.topic, value=next(messages(bad=False, schema=load_schema(run.schema)))[1], partition=1).get(timeout=10)
        began = time.monotonic()
        meanwhile()
        time.sleep(max(0.0, began + HELD_SECONDS + 0.5 - time.monotonic()))
        run.doctor = run.stand.run("doctor", "--json", code=1)
        run.status = run.stand.run("status", "--json")
        other.abort_transaction()


def scored(run: Run) -> Rows:
    return [row for frame in run.stand.frames() for row in frame.rows()]


# -- what must be so


def reasons(run: Run, *events: str) -> dict[tuple[str, int, int], str]:
    return {(row["topic"], row["partition"], row["offset"]): row.get("reason", "") for row in run.ledger(*events) if "partition" in row}


def test_every_bad_model_is_refused_with_the_check_and_the_value(run: Run) -> None:
    said = reasons(run, "refused")
    wrong = {told.what: said[run.topic, *told.place] for told in run.prepared if told.reason not in said[run.topic, *told.place]}
    assert wrong == {}
    assert len(run.prepared) == len(PARTITIONS) * (len(names()) + 2)


def test_every_bad_token_is_rejected_and_says_why(run: Run) -> None:
    said = reasons(run, "rejected")
    assert {told.what: said[run.topic, *told.place] for told in run.tokens if told.reason not in said[run.topic, *told.place]} == {}
    assert {place for topic, *place in said if topic == run.topic and tuple(place) in run.skipped} == set()


def test_every_bad_definition_is_rejected_and_says_why(run: Run) -> None:
    said, topic = reasons(run, "rejected"), run.environment.topics.parameters.name
    assert {told.what: said[topic, *told.place] for told in run.definitions if told.reason not in said[topic, *told.place]} == {}
    assert [offset for offset in run.harmless if (topic, 0, offset) in said] == []


def test_what_only_starts_like_a_token_is_a_dead_letter(run: Run) -> None:
    assert [letter.reason for letter in run.stand.dead_letters()] == ["token"]


def test_shards_hold_while_the_store_is_away_and_take_only_its_own_bytes(run: Run) -> None:
    assert reasons(run, "released").keys() >= {(run.topic, *held.place) for held in run.holding}
    assert all("its models are not here yet" in said for said in reasons(run, "holding").values())


def test_an_open_transaction_is_named_by_doctor_and_status(run: Run) -> None:
    assert f"{run.topic}-1: no reader gets past offset" in run.doctor
    assert "where 'a-loader' (producer" in run.doctor
    assert "where 'a-loader' (producer" in run.status


def test_where_a_champion_raises_its_row_says_why_and_another_model_answers(run: Run) -> None:
    there = run.stand.telemetry()
    rows = [row for row in scored(run) if row["epoch"] == run.picky]
    champion, other = ([row for row in rows if row["role"] == role] for role in ("champion", "on_error"))
    outside = {place_of(row) for row in champion if abs(msgspec.msgpack.decode(there[place_of(row)].value or b"")["values"][0]) >= 2}
    assert {place_of(row) for row in champion if row["error"]} == outside
    assert 0 < len(outside) < len(champion)
    assert all("out of data bounds" in row["error"] and row["score"] is None for row in champion if row["error"])
    assert sorted(map(place_of, other)) == sorted(outside)
    assert {(row["model"], row["error"], row["score"] is None) for row in other} == {(f"{NAME}:1", None, False)}


def place_of(row: dict[str, Any]) -> Place:
    return row["partition"], row["offset"]


def test_the_champion_goes_on(run: Run) -> None:
    rows = scored(run)
    assert {row["model"] for row in rows} == {f"{NAME}:1", f"{NAME}:2", *run.served}
    assert {row["model"] for row in rows if row["error"]} == set(run.served[:2])
    assert all(row["error"].startswith(f"{run.served[0]}: finite: ") for row in rows if row["error"] and row["model"] == run.served[0])
    newest = max(rows, key=lambda row: row["epoch"])
    assert (newest["model"], newest["epoch"]) == (f"{NAME}:2", run.cut().epoch)
    assert [(row["written"], row["event"]) for row in run.again] == [(False, "activated")] * len(PARTITIONS)


def test_rows_and_dead_letters_are_the_records(run: Run) -> None:
    answers = run.stand.settle(60)
    there = run.stand.telemetry()
    letters = {(letter.partition, letter.offset) for letter in run.stand.dead_letters()}
    assert answers.keys() == readings(there).keys() | letters
    assert set(answers.values()) == {1}


def test_nothing_diverges(run: Run) -> None:
    found = run.stand.rows("verify", "--deployment", NAME)
    assert [(row["partition"], row["first"], row["held"]) for row in found] == [(partition, None, None) for partition in PARTITIONS]
    run.stand.second_opinion()
